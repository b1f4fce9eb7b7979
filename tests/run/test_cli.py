"""`tunelang run`, `chat` and `generate` around planning and execution."""

import json

import pytest
import typer
from typer.testing import CliRunner

from tunelang.cli import chat, finished, generate, run
from tunelang.diagnostic import error
from tunelang.plan.ir import HubModel
from tunelang.run.outcome import Outcome, Result

RECIPE = 'tune 1\nmodel base = hf("a/b", revision = "c")\nprofile laptop {\n}\nprofile pod {\n}\n'
WRONG = error("TL101", "unknown-name", "nothing is called `x`", None)


@pytest.fixture
def recipe(tmp_path, monkeypatch):
    monkeypatch.setenv("TUNELANG_HOME", str(tmp_path / "home"))
    path = tmp_path / "chat.tune"
    path.write_text(RECIPE)
    return path


@pytest.fixture
def planned(monkeypatch):
    """Let planning give a certain answer to every command."""

    def give(plan, found=()):
        def answer(*_given):
            return plan, list(found)

        for page in (run, finished):
            monkeypatch.setattr(page, "plan_recipe", answer)

    return give


@pytest.fixture
def outcome(monkeypatch):
    """Let execution end in a certain way; gives the settings it was called with."""
    seen = []

    def give(ending):
        def execute(_plan, _store, *, display, settings):
            seen.append(settings)
            return ending

        monkeypatch.setattr("tunelang.run.execute.execute", execute)
        return seen

    return give


def call(part, *words, said=None):
    app = typer.Typer()
    app.command()(part)
    found = CliRunner().invoke(app, [str(word) for word in words], input=said)
    return found.exit_code, found.output


def test_findings_stop_before_anything_runs(recipe, planned):
    """A recipe with mistakes is exit code 1 and runs nothing."""
    planned(None, [WRONG])
    code, told = call(run.run, recipe)
    assert code == 1
    assert "TL101" in told


@pytest.mark.parametrize(("code", "words"), [(0, "2 to run"), (1, "TL101"), (130, "goes on")])
def test_exit_codes_are_those_of_the_outcome(recipe, planned, outcome, chain, code, words):
    """0 done, 1 with its diagnostic, 130 with the way on; the forecast counts what runs."""
    planned(chain.model_copy(update={"steps": chain.steps[:2]}))
    found = (WRONG,) if code == 1 else ()
    results = (Result(chain.steps[0], "failed"),) if code else ()
    seen = outcome(Outcome(code, results, found, "step 3 of 9"))
    ended, told = call(run.run, recipe)
    assert ended == code
    assert words in told
    assert seen[0].profiles == ("laptop", "pod")
    assert seen[0].hub is False


def test_a_machine_that_the_plan_has_not_is_refused(recipe, planned, outcome, chain):
    """A second machine would wait for work that is never there; the first is the only one."""
    planned(chain)
    seen = outcome(Outcome(0, (), ()))
    code, told = call(run.run, recipe, "--node", "1", "--rendezvous", "10.0.0.1:29400")
    assert code == 2 and "one machine, node 0" in told and not seen
    code, _ = call(run.run, recipe, "--node", "0", "--rendezvous", "10.0.0.1:29400")
    assert code == 0 and seen[0].node is None


def test_hub_needs_consent(recipe, planned, outcome, make, plan, monkeypatch):
    """Without a terminal downloads need --yes; HF_HUB_OFFLINE wins over it."""
    planned(plan(make("sft", inputs={"model": HubModel(id="a/b", revision="c")})))
    seen = outcome(Outcome(0))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    _, told = call(run.run, recipe)
    assert "`--yes` allows downloads" in told
    call(run.run, recipe, "--yes")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    call(run.run, recipe, "--yes")
    assert [settings.hub for settings in seen] == [False, True, False]


def test_stages_that_cannot_talk(recipe, planned, make, plan):
    """An unknown stage, products that write nothing and a stage that has not run are told apart."""
    silent = [make("judge", product="reward"), make("sort", product="classifier")]
    planned(plan(make("sft"), *silent))
    for stage, said in (
        ("stf", "its stages are sft, judge"),
        ("judge", "it scores replies"),
        ("sort", "it tells classes"),
        ("sft", f"tunelang run {recipe}"),
    ):
        code, told = call(chat.chat, stage, "--recipe", recipe)
        assert code == 1
        assert said in told


def test_chat_keeps_the_conversation(recipe, planned, execute, make, plan, monkeypatch):
    """One line in, one reply out; earlier turns go along, until `/new`."""
    one = plan(make("sft"))
    execute(one)
    planned(one)
    asked = fake_speaker(monkeypatch)
    code, told = call(chat.chat, "sft", "--recipe", recipe, said="good day\nand you\n/new\nbye\n")
    assert (code, told) == (0, "reply 1\nreply 2\nreply 3\n")
    assert [len(request["messages"]) for request in asked] == [1, 3, 1]


def test_generate_answers_a_file(recipe, planned, execute, make, plan, monkeypatch, tmp_path):
    """Each prompt of a .jsonl gives one line with its reply."""
    one = plan(make("sft"))
    execute(one)
    planned(one)
    fake_speaker(monkeypatch)
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text('{"prompt": "a"}\n\n{"messages": []}\n')
    out = tmp_path / "out.jsonl"
    where = ("--recipe", recipe, "--prompts", prompts, "--out", out)
    assert call(generate.generate, "sft", *where) == (0, "")
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert rows == [{"prompt": "a", "reply": "reply 1"}, {"messages": [], "reply": "reply 2"}]


def test_generate_prints_one_reply(recipe, planned, execute, make, plan, monkeypatch):
    """A single prompt gives its reply as text."""
    one = plan(make("sft"))
    execute(one)
    planned(one)
    fake_speaker(monkeypatch)
    told = call(generate.generate, "sft", "--recipe", recipe, "--prompt", "a")
    assert told == (0, "reply 1\n")


def test_prompts_that_hold_none(recipe, planned, make, plan, tmp_path):
    """A line without a prompt is named by file and line, before any model is loaded."""
    planned(plan(make("sft")))
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text('{"prompt": "a"}\n{"prmpt": "b"}\n')
    code, told = call(generate.generate, "sft", "--recipe", recipe, "--prompts", prompts)
    assert code == 1
    assert f"{prompts}:2" in told


def test_only_recipe_is_found(recipe, planned, make, plan, monkeypatch, tmp_path):
    """Without --recipe the only recipe of the folder is taken; of two, none."""
    planned(plan(make("sft")))
    monkeypatch.chdir(tmp_path)
    assert "tunelang run chat.tune" in call(chat.chat, "sft")[1]
    (tmp_path / "other.tune").write_text(RECIPE)
    assert "this folder has 2 recipes" in call(chat.chat, "sft")[1]


def fake_speaker(monkeypatch):
    """Replies `reply N` in two pieces; gives the requests it got."""
    from contextlib import contextmanager
    from types import SimpleNamespace

    asked = []

    def ask(request):
        asked.append(json.loads(json.dumps(request)))
        yield from ("reply ", str(len(asked)))

    @contextmanager
    def speaking(_store, _step):
        yield SimpleNamespace(ask=ask, template=True)

    monkeypatch.setattr("tunelang.run.speak.speaking", speaking)
    return asked
