"""What the pages of the rules on hyperparameters do not show: shared stages, defaults, keys."""

from __future__ import annotations

from pathlib import Path

import pytest

from tunelang.plan import findings
from tunelang.plan.findings import Findings
from tunelang.rules.pages import CHECKOUT
from tunelang.rules.tuning import rate

GROUND = (CHECKOUT / "ground.tune").read_text()
CHAT = """stage chat: instruction_tuning {
  model = base
  data = talks
  template = "llama3"
  length = 2048 tokens
  on = pod
%s}
"""
MORE = """stage more: instruction_tuning {
  model = chat
  data = talks
  length = 2048 tokens
  on = pod
}
"""


def found(folder: Path, text: str) -> Findings:
    path = folder / "recipe.tune"
    path.write_text(GROUND + text)
    return findings.of_file(path)


def names(read: Findings) -> set[str]:
    return {each.name for each in read.found}


def test_a_sweep_pays_once_for_what_its_points_share(tmp_path: Path) -> None:
    """Only stages that an axis reaches are paid for at each point."""
    plan = found(tmp_path, CHAT % "" + MORE).plan
    assert plan
    chat, more = (step.estimate.dollars or 0 for step in plan.steps if step.estimate)
    sweep = "sweep s {\n  budget = $%.2f\n  axes { %s = [1e-5, 2e-5, 3e-5] }\n}\n"
    enough = chat + 3 * more + 0.01
    assert "sweep-too-big" not in names(
        found(tmp_path, CHAT % "" + MORE + sweep % (enough, "more.lr"))
    )
    assert "sweep-too-big" in names(found(tmp_path, CHAT % "" + MORE + sweep % (enough, "chat.lr")))


def test_the_default_warmup_makes_room(tmp_path: Path) -> None:
    """One step is a run: nobody wrote a warmup that could be too long."""
    read = found(tmp_path, CHAT % "  train = 1 step\n")
    assert read.plan and read.plan.steps[0].schedule
    assert read.plan.steps[0].schedule.warmup == 0
    assert "warmup-too-long" not in names(read)


def test_saving_follows_measuring_where_a_stage_may_stop(tmp_path: Path) -> None:
    """With `stop = early` the default of `save_every` is what `eval_every` says."""
    lines = "  train = 100 steps\n  eval_every = 7 steps\n"
    early = found(tmp_path, CHAT % f"{lines}  stop = early\n").plan
    whole = found(tmp_path, CHAT % lines).plan
    assert early and early.steps[0].schedule and early.steps[0].schedule.save_every == 7
    assert whole and whole.steps[0].schedule and whole.steps[0].schedule.save_every == 20


@pytest.mark.parametrize("line", ["stop = early", "keep = best", "scaling = yarn(factor = 2)"])
def test_keys_of_chosen_variants_hang_on_values_alone(line: str, tmp_path: Path) -> None:
    """A comment elsewhere in the file changes no key."""
    text = CHAT % f"  train = 100 steps\n  {line}\n"
    plans = [found(tmp_path, each).plan for each in (text, f"# a comment\n{text}")]
    one, other = plans
    assert one and other and one.steps[0].key == other.steps[0].key


def test_a_stage_that_starts_from_itself_is_said_once(tmp_path: Path) -> None:
    """No rule walks in a circle for ever."""
    read = found(tmp_path, (CHAT % "  weights = lora(rank = 8)\n").replace("base", "chat"))
    assert "reference-cycle" in names(read) and read.plan is None


def test_rates_read_as_people_write_them() -> None:
    assert [rate(value) for value in (2e-4, 9.65e-6, 1e-3, 0.02)] == [
        "2e-4",
        "9.65e-6",
        "1e-3",
        "2e-2",
    ]
