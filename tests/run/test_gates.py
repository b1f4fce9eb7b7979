"""Gates and the figures of the closing table."""

import io
import math

import pytest
from rich.console import Console

from tunelang.diagnostic import Severity
from tunelang.run.closing import better, show, table
from tunelang.run.gates import findings, judge, stops, value
from tunelang.run.outcome import Result
from tunelang.run.place import split


@pytest.mark.parametrize(
    ("compare", "measured", "passed"),
    [
        ("<", 1.0, False),
        ("<=", 1.0, True),
        (">", 1.0, False),
        (">=", 1.0, True),
        ("==", 1.0, True),
        ("!=", 1.0, False),
        ("<", 0.5, True),
        (">", 2.0, True),
        ("!=", math.nan, False),
    ],
)
def test_every_comparison(make, gate, compare, measured, passed):
    """Each comparison at its bound; nan passes none, not even `!=`."""
    step = make("sft", gates=[gate("loss", compare, 1.0)])
    (verdict,) = judge(step, {"loss": measured})
    assert verdict.passed is passed
    assert stops([verdict]) is not passed


def test_report_only_gate_never_stops(make, gate):
    """enforce = false turns the error into a warning, also when nothing was measured."""
    step = make("sft", gates=[gate("loss", "<", 1.0, enforce=False)])
    verdicts = judge(step, {})
    assert not stops(verdicts)
    assert [found.severity for found in findings(step, verdicts)] == [Severity.WARNING]


def test_finding_points_at_the_gate(make, gate, tmp_path):
    """When the recipe can be read, the gate's line is shown."""
    recipe = tmp_path / "a.tune"
    recipe.write_text("stage sft {\n  gate { accuracy > 70% }\n}\n")
    closed = gate("accuracy", ">", 0.7).model_copy(update={"place": f"{recipe}:2"})
    step = make("sft", gates=[closed])
    (found,) = findings(step, judge(step, {"accuracy": 0.6128}))
    assert found.at.span.text == "gate { accuracy > 70% }"
    assert "accuracy = 61.28%" in found.message
    assert "> 70%" in found.message


@pytest.mark.parametrize(
    ("metric", "amount", "text"),
    [
        ("accuracy", 0.71234, "71.23%"),
        ("loss", 2.34567, "2.346"),
        ("perplexity", 12345.6, "12,346"),
        ("mean_length", 112.0, "112 tokens"),
        ("perplexity(replay.hold_out)", 8.4, "8.4"),
        ("loss", math.nan, "nan"),
    ],
)
def test_values_read_as_people_write_them(metric, amount, text):
    """Ratios in per cent, lengths in tokens, four figures."""
    assert value(metric, amount) == text


@pytest.mark.parametrize(
    ("metric", "before", "after", "said"),
    [
        ("loss", 2.0, 1.0, "better"),
        ("loss", 1.0, 2.0, "worse"),
        ("reward", 1.0, 2.0, "better"),
        ("accuracy", 0.6, 0.5, "worse"),
        ("accuracy", 0.6, 0.6, "same"),
        ("mean_length", 1.0, 2.0, ""),
    ],
)
def test_better_follows_the_metric(metric, before, after, said):
    """Less loss is better, more reward is better, length is neither."""
    assert better(metric, before, after) == said


def test_closing_table_has_every_fact(make, gate):
    """One row a stage: change, arrow, gates, time, memory, reused or run."""
    step = make("ppo", gates=[gate("reward", ">", 0.0)])
    after = {"reward": 0.62, "reward_se": 0.05, "kl": 3.0}
    verdicts = tuple(judge(step, after))
    result = Result(step, "run", 75.0, 5 << 28, {"reward": -0.1}, after, verdicts)
    told = io.StringIO()
    Console(file=told, width=200).print(table((result,)))
    row = " ".join(told.getvalue().splitlines()[1].split())
    assert row == "ppo reward -0.1 → 0.62 ± 0.05 ↑ better 1/1 ✓ 1 min 15 s 1.25 GiB run"


def test_closing_page_shows_samples_and_the_way_on(execute, make, plan, store):
    """Replies before and after, where the result lies, and the next command."""
    step = make("sft")
    outcome, _ = execute(plan(step))
    told = io.StringIO()
    show(Console(file=told, width=200), outcome, store, "chat.tune")
    lines = [" ".join(line.split()) for line in told.getvalue().splitlines()]
    for line in ("prompt hello", "before what", "after good day"):
        assert line in lines
    assert f"`sft` is in {store.object(step.key)}" in lines
    assert "talk to it: tunelang chat sft --recipe chat.tune" in lines


@pytest.mark.parametrize(
    ("place", "parts"),
    [
        ("a/b.tune:12", ("a/b.tune", 12)),
        ("a/b.tune:12:3", ("a/b.tune", 12)),
        ("C:/x.tune:4", ("C:/x.tune", 4)),
        ("a.tune", ("", 0)),
    ],
)
def test_places_are_taken_apart(place, parts):
    """`path:line` with or without a column."""
    assert split(place) == parts
