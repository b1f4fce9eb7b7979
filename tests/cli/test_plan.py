"""`tunelang plan`: the screen, what it rests on, and `--explain`."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tunelang.cli.plan import states
from tunelang.cli.run import forecast
from tunelang.estimate.calibration import Calibration
from tunelang.estimate.ladder import excluded, ladder
from tunelang.plan.explain import explain, kinds
from tunelang.plan.figures import band, bar
from tunelang.plan.findings import Findings, of_file
from tunelang.plan.ir import Budget, Plan
from tunelang.plan.show import State, show
from tunelang.recipe.overrides import Settings
from tunelang.run.calibrations import FOLDER, keep
from tunelang.run.store import Store, write_json

ROOT = Path(__file__).parents[2]
LARGE, SMALL = ROOT / "recipes" / "llama-8b-rlhf.tune", ROOT / "recipes" / "tiny.tune"
ESCAPES = re.compile(r"\x1b\[[0-9;]*m")


@pytest.fixture(scope="module")
def large() -> Findings:
    return of_file(LARGE)


@pytest.fixture(scope="module")
def small() -> Findings:
    return of_file(SMALL)


def made(found: Findings) -> Plan:
    assert found.plan, found.found
    return found.plan


def tunelang(*words: str, home: Path, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tunelang", *words]
    env = {**os.environ, "TUNELANG_HOME": str(home)}
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=env)


# --- the screen -----------------------------------------------------------------------------


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("recipe", ["large", "small"])
def test_no_line_is_wider_than_the_terminal(
    recipe: str, width: int, request: pytest.FixtureRequest
) -> None:
    """At 80 columns and at 120; and every stage has its row."""
    plan = made(request.getfixturevalue(recipe))
    lines = show(plan, width=width).splitlines()
    assert max(map(len, lines)) <= width
    for step in plan.steps:
        assert any(line.startswith(f"{step.name} ") for line in lines), step.name


def test_columns_stand_under_their_heads(large: Findings) -> None:
    """Memory, time and cost end where their heads end, in every row."""
    plan = made(large)
    lines = show(plan, width=100).splitlines()
    head = next(line for line in lines if line.startswith("stage"))
    ends = [head.index(word) + len(word) for word in ("memory", "time", "cost")]
    rows = [line for line in lines if any(line.startswith(f"{s.name} ") for s in plan.steps)]
    for row in rows:
        assert all(row[end - 1] != " " and (row + "  ")[end] == " " for end in ends), row


def test_a_row_says_how_the_batch_is_split(large: Findings) -> None:
    """micro × accumulation × GPUs is the batch that is shown."""
    plan = made(large)
    text = show(plan, width=100)
    for step in plan.steps:
        place = step.place
        assert step.batch
        assert place.micro * place.accumulate * place.processes == step.batch.size
        parts = [f"{place.micro}"] + ([f"{place.accumulate}"] if place.accumulate > 1 else [])
        assert f"of {step.batch.size} = {' × '.join(parts)} × {place.processes} GPUs" in text


def test_what_is_reused_and_why_the_rest_runs(small: Findings) -> None:
    """A reused step has no figures; another says its one reason; the totals count both."""
    states = {"seedling": State(reused=True), "chat": State(reason="lr 0.001 → 0.002")}
    lines = show(made(small), states, width=80).splitlines()
    assert "reused" in next(line for line in lines if line.startswith("seedling"))
    assert any(line.strip() == "runs: lr 0.001 → 0.002" for line in lines)
    assert any("4 to run, 1 reused" in line for line in lines)


def test_why_a_stage_runs_is_one_clause(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing near, or too much of it other: no reason. Another rate: that. Another start: that."""
    monkeypatch.setenv("TUNELANG_HOME", str(tmp_path))
    old = made(of_file(SMALL))
    assert not any(each.reused or each.reason for each in states(old).values())
    shop = Store(tmp_path)
    for step in old.steps:
        product = tmp_path / "made" / step.name
        product.mkdir(parents=True)
        write_json(product / "step.json", step.model_dump(mode="json"))
        shop.publish(step.key, product, {})
    assert all(each.reused for each in states(old).values())
    changed = states(made(of_file(SMALL, Settings(sets={"domain.lr": "1e-4"}))))
    assert changed["seedling"].reused and not changed["domain"].reused
    assert changed["domain"].reason.startswith("lr ") and changed["domain"].reason.endswith(
        "0.0001"
    )
    assert changed["chat"].reason == "`domain`, which it starts from, runs"
    sets = {"lr": "1e-4", "seed": "3", "precision": "bf16", "length": "128 tokens"}
    sets |= {"batch": "4 sequences", "train": "9 steps"}
    other = {f"domain.{name}": value for name, value in sets.items()}
    assert states(made(of_file(SMALL, Settings(sets=other))))["domain"].reason == ""


def test_totals_stand_against_the_budget(large: Findings) -> None:
    """The limits are beside the totals, and what is over is named."""
    plan = made(large)
    kept = show(plan, width=100)
    assert "budget  kept" in kept and "of $6,000" in kept and "of 14 d" in kept
    poor = plan.model_copy(update={"budget": Budget(dollars=10.0, seconds=1e9)})
    assert "over in cost" in show(poor, width=100)
    short = plan.model_copy(update={"budget": Budget(seconds=60.0)})
    assert "over in time" in show(short, width=100)
    free = plan.model_copy(update={"budget": Budget()})
    assert "budget" not in show(free, width=100)


@pytest.mark.parametrize(("share", "code"), [(0.5, "32"), (0.9, "33"), (0.97, "31")])
def test_the_bar_has_the_colour_of_the_verdict(large: Findings, share: float, code: str) -> None:
    """Green below 85 %, yellow to 95 %, red above; without colour the text is the same."""
    plan = made(large)
    first = plan.steps[0]
    assert first.estimate
    peak = int(share * first.estimate.usable)
    estimate = first.estimate.model_copy(update={"peak": peak})
    step = first.model_copy(update={"estimate": estimate})
    one = plan.model_copy(update={"steps": [step]})
    painted = show(one, width=100, colour=True)
    assert f"\x1b[{code}m{bar(share, 12)}" in painted
    assert ESCAPES.sub("", painted) == show(one, width=100)


def test_a_column_without_entries_has_no_head(large: Findings, small: Findings) -> None:
    """Nothing costs where the recipe names no price."""
    assert "cost" in show(made(large)) and "cost" not in show(made(small))


def test_bars_and_bands() -> None:
    """Eighths of a cell; a unit is said once where both ends have it."""
    assert [bar(share, 4) for share in (0, 0.5, 0.53, 1, 2)] == [
        "░░░░",
        "██░░",
        "██▏░",
        "████",
        "████",
    ]
    assert band(6.4 * 3600, 11.6 * 3600) == "6.4–11.6 h"
    assert band(4.1, 4.3) == "4 s"
    assert band(3000, 7200) == "50 min–2.0 h"


def test_what_was_measured_is_named_and_counts(tmp_path: Path, large: Findings) -> None:
    """A calibration twice as slow doubles the time of updates, and the plan rests on it."""
    found = of_file(
        LARGE, None, {"H100-80GB": Calibration("H100-80GB", "torch", "2026-11-25", 2.0, 1.0)}
    )
    before, after = made(large).steps[0].estimate, made(found).steps[0].estimate
    assert before and after
    assert after.seconds == pytest.approx(2 * before.seconds, rel=0.01)
    text = show(made(found), width=100)
    assert "rests on the calibration of H100-80GB, 3 steps, 2026-11-25" in text


def test_what_has_no_estimate_says_why(tmp_path: Path) -> None:
    """A way that cannot run, a GPU and a model that are not known: each by its own name."""
    text = SMALL.read_text().replace('"data/', f'"{ROOT}/recipes/data/')
    hub = "model seedling = hf('acme/base', revision = 'd149729')\n".replace("'", '"')
    cut = text.index("model seedling"), text.index("data handbook")
    for block, wanted in {
        "{ count = 3 }": "it cannot run so",
        '{ gpu = "X9" }': "its GPU is not in the catalogue",
        "{ count = 1 }": "its model is not in the catalogue",
    }.items():
        known = hub.join((text[: cut[0]], text[cut[1] :])) if "model" in wanted else text
        path = tmp_path / "r.tune"
        path.write_text(f"{known}\nhardware box {block}\ndefaults stage {{ on = box }}\n")
        plan = made(of_file(path))
        step = next(step for step in plan.steps if step.name == "domain")
        assert f"unknown  domain: no estimate: {wanted}\n" in show(plan, width=100)
        assert explain(step, []).endswith(f"\nno estimate: {wanted}\n")


def test_processes_of_a_cpu_have_shares_of_its_memory(tmp_path: Path) -> None:
    """What does not fit is said of a process and its share, not of the whole machine."""
    text = SMALL.read_text().replace('"data/', f'"{ROOT}/recipes/data/')
    box = "hardware box { count = 2, memory = 1GB }\ndefaults stage { on = box }\n"
    path = tmp_path / "r.tune"
    path.write_text(f"{text}\n{box}")
    told = [each.message for each in of_file(path).found if each.code == "TL701"]
    assert told and all(
        "per process" in each and "its share of memory, 0.5" in each for each in told
    )


@pytest.mark.parametrize(("count", "end"), [(1, "of memory"), (2, "of memory a process")])
def test_a_run_says_whose_memory_it_means(count: int, end: str, tmp_path: Path) -> None:
    """The line before a run, for one process and for two."""
    text = SMALL.read_text().replace('"data/', f'"{ROOT}/recipes/data/')
    path = tmp_path / "r.tune"
    path.write_text(f"{text}\nhardware box {{ count = {count} }}\ndefaults stage {{ on = box }}\n")
    assert forecast(made(of_file(path)), Store(tmp_path)).endswith(end)


def test_a_budget_of_time_is_told_in_its_own_unit(tmp_path: Path) -> None:
    """Seconds of a small recipe are not 0.0 h."""
    path = tmp_path / "r.tune"
    text = SMALL.read_text().replace('"data/', f'"{ROOT}/recipes/data/')
    path.write_text(f"{text}\nbudget {{ time = 1s }}\n")
    (told,) = (each for each in of_file(path).found if each.code == "TL708")
    assert re.search(r"estimated at \d+ (s|min), the budget is 1s", told.message)
    assert re.search(r"takes longest with \d+ (s|min)", told.help)


# --- explain --------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [80, 120])
def test_explain_shows_choices_ladder_and_memory(large: Findings, width: int) -> None:
    """The layout taken comes first, each kind of layout once, and terms add up to the peak."""
    step = made(large).steps[0]
    tried = ladder(*large.works[step.name])
    text = explain(step, tried, excluded(*large.works[step.name]), width=width)
    lines = text.splitlines()
    assert max(map(len, lines)) <= width
    rungs = [line for line in lines if line[:2] in ("→ ", "  ", "! ", "✗ ") and " × " in line]
    assert rungs[0].startswith("→ ") and sum(line.startswith("→") for line in rungs) == 1
    assert len(rungs) == len(kinds(tried))
    assert step.estimate
    for phase in step.estimate.phases:
        assert re.search(rf"^  {phase} +█", text, re.MULTILINE), phase
    assert sum(step.estimate.terms.values()) == pytest.approx(step.estimate.allocated, rel=0.01)
    assert all(reason.split()[0] in text for reason in step.place.reasons)


def test_a_ladder_names_what_layouts_differ_in(large: Findings) -> None:
    """What all share stands in the line above; a reason without room has a line of its own."""
    step = made(large).steps[0]
    one, *_ = ladder(*large.works[step.name])
    way = replace(one.layout, sharding="zero3", offload="optimizer", checkpointing=False)
    layouts = [way, replace(way, checkpointing=True)]
    tried = [replace(one, layout=each, chosen=each is way) for each in layouts]
    tried.append(replace(one, layout=replace(way, loss="plain"), chosen=False))
    text = explain(step, tried, [], width=80)
    assert "plain loss" not in text
    assert "\n→ ZeRO-3  " in text and "\n  ZeRO-3, checkpointing  " in text
    tried[1] = replace(tried[1], reason="word " * 9 + "end")
    text = explain(step, tried, [], width=80)
    assert "…" not in text and f"\n    {tried[1].reason}\n" in text


def test_an_unknown_stage_is_a_finding(tmp_path: Path) -> None:
    """With the name that was probably meant; nothing else is printed."""
    done = tunelang("plan", str(SMALL), "--explain", "chatt", home=tmp_path)
    assert done.returncode == 1 and done.stdout == ""
    assert "TL101" in done.stderr and "did you mean `chat`?" in done.stderr


def test_a_calibration_in_the_home_is_used(tmp_path: Path) -> None:
    """The command finds what `probe` kept; a file that holds none changes nothing."""
    keep(tmp_path, Calibration("H100-80GB", "torch", "2026-11-25", 1.5, 1.0))
    (tmp_path / FOLDER / "broken.json").write_text("{")
    done = tunelang("plan", str(LARGE), home=tmp_path)
    assert "rests on the calibration of H100-80GB, 3 steps, 2026-11-25" in done.stdout
