"""A written plan is carried out as it stands: whole, or one stage as a scheduler's job does."""

from __future__ import annotations

import json

import pytest
import typer
from typer.testing import CliRunner

from tunelang.cli import run
from tunelang.diagnostic import error
from tunelang.launch.scheduler import RETRY
from tunelang.run import written
from tunelang.run.outcome import Outcome


@pytest.fixture
def folder(tmp_path, chain, monkeypatch):
    monkeypatch.setenv("TUNELANG_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("TUNELANG_RENDEZVOUS", raising=False)
    path = tmp_path / "plan"
    path.mkdir()
    (path / "plan.json").write_text(chain.model_dump_json(indent=2))
    return path


@pytest.fixture
def seen(monkeypatch):
    """What was carried out, in place of carrying it out; `ending` is what comes of it."""
    calls = []

    def carry_out(plan, _store, means, *, display, settings):
        calls.append((plan, means, settings))
        return calls.ending

    class Calls(list):
        ending = Outcome(0)

    calls = Calls()
    monkeypatch.setattr("tunelang.run.carry.carry_out", carry_out)
    return calls


def call(*words):
    app = typer.Typer()
    app.command()(run.run)
    found = CliRunner().invoke(app, [str(word) for word in words])
    return found.exit_code, found.output


def test_a_folder_and_its_file_are_the_same_plan(folder, seen, chain):
    """Both are carried out whole, without a recipe."""
    assert call(folder)[0] == call(folder / "plan.json")[0] == 0
    assert [plan for plan, _, _ in seen] == [chain, chain]


def test_what_is_no_plan_is_told(folder):
    """TL012 for a file that is not there, that is no JSON, or that is a plan of something else."""
    for text in ("", "{", '{"version": 1}', '{"version": 9, "recipe": "a", "steps": []}'):
        (folder / "plan.json").write_text(text)
        code, told = call(folder)
        assert code == 1
        assert "TL012" in told
    code, told = call(folder.parent / "other.json")
    assert code == 1
    assert "TL012" in told


def test_one_stage_is_carried_out(folder, seen, chain):
    """The job of a stage knows which it is, and gets no other."""
    assert call(folder, "--only", "base")[0] == 0
    ((plan, _, settings),) = seen
    assert [step.name for step in plan.steps] == ["base"]
    assert settings.only == "base"


def test_a_stage_that_is_not_there_is_told(folder, seen):
    code, told = call(folder, "--only", "bass")
    assert code == 1
    assert "did you mean `base`?" in told
    assert not seen


def test_what_a_stage_needs_must_be_there(folder, seen, chain, store):
    """TL720 names the stage to run first; one that is done itself needs nothing."""
    code, told = call(folder, "--only", "sft")
    assert code == 1
    assert "TL720" in told
    assert "needs `adapt`" in told
    assert not seen
    store.object(chain.steps[2].key).mkdir(parents=True)
    (store.object(chain.steps[2].key) / "manifest.json").write_text("{}")
    assert isinstance(written.narrowed(chain, "sft", store), type(chain))


@pytest.mark.parametrize(("code", "ends"), [("TL723", RETRY), ("TL721", 1)])
def test_a_job_says_whether_another_attempt_may_help(folder, seen, code, ends):
    """A crash may, a closed gate may not; without a scheduler both are 1."""
    seen.ending = Outcome(1, diagnostics=(error(code, "name", "message", None),))
    assert call(folder, "--only", "base")[0] == ends
    assert call(folder)[0] == 1


def test_a_plan_takes_no_values(folder):
    """What would change the plan is refused, not ignored."""
    assert call(folder, "--set", "a.b=1")[0] == 2
    assert call(folder, "--profile", "laptop")[0] == 2


@pytest.fixture
def shared(folder, chain):
    """A plan whose second stage needs two machines."""
    text = json.loads(chain.model_dump_json())
    text["steps"][1]["place"] |= {"nodes": 2, "processes": 2, "launcher": "torchrun"}
    (folder / "plan.json").write_text(json.dumps(text))
    return folder


def test_a_machine_is_told_which_it_is(shared, seen, monkeypatch):
    """By options, or the address by the environment, as jobs have it."""
    assert call(shared, "--node", "0", "--rendezvous", "head:29400")[0] == 0
    monkeypatch.setenv("TUNELANG_RENDEZVOUS", "10.0.0.1:7")
    assert call(shared, "--node", "0")[0] == 0
    nodes = [settings.node for _, _, settings in seen]
    assert [(node.rank, node.count, node.host, node.port) for node in nodes] == [
        (0, 2, "head", 29400),
        (0, 2, "10.0.0.1", 7),
    ]


@pytest.mark.parametrize(
    "words",
    [["--node", "0"], ["--node", "2", "--rendezvous", "a:1"], ["--node", "0", "--rendezvous", "a"]],
)
def test_a_machine_that_is_told_nonsense_is_called_wrongly(shared, words):
    assert call(shared, *words)[0] == 2


def test_other_machines_take_part(shared, seen, monkeypatch):
    """They carry out nothing of their own."""
    monkeypatch.setattr("tunelang.run.nodes.take_part", lambda *_: 7)
    assert call(shared, "--node", "1", "--rendezvous", "head:29400")[0] == 7
    assert not seen
