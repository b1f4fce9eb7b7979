"""What is shown while a run runs."""

import io
import re

import pytest
from rich.console import Console

from tunelang.run.amounts import duration, size
from tunelang.run.progress import Bars, Lines, Pace, display, figures, remark, say


def progress(at, when, loss=1.0):
    metrics = {"lr": 1e-4, "loss": loss}
    return {"event": "progress", "time": when, "at": at, "of": 10, "metrics": metrics}


def told_by(kind):
    file = io.StringIO()
    shown = kind(Console(file=file, width=120, force_terminal=kind is Bars))
    shown.start(["base", "sft"])
    shown.end("base", "reused", 0.0)
    shown.begin("sft", "2 processes · DDP")
    for at in range(1, 11):
        shown.event("sft", progress(at, 0.5 * at, 1 / at))
    shown.event("sft", {"event": "note", "text": "8 rows are cut"})
    shown.end("sft", "run", 5.0)
    shown.stop()
    return shown, file.getvalue()


@pytest.mark.parametrize("kind", [Lines, Bars])
def test_both_displays_tell_the_same(kind):
    """Reuse, notes, the last step and the time are told on a terminal and in a log file."""
    shown, told = told_by(kind)
    for text in ("reused", "8 rows are cut", "done in 5.0 s"):
        assert text in told
    assert shown.where("sft") == "at step 10 of 10"
    shown.event("sft", progress(3, 9.0))
    shown.event("sft", {"event": "checkpoint", "at": 7})
    assert shown.where("sft") == "at step 7 of 10"


def test_plain_lines_say_what_shares_a_step():
    """Processes and the way they share the step; one process has nothing to say."""
    shown, told = told_by(Lines)
    assert "sft   starting 2 processes · DDP\n" in told
    shown.begin("base", "")
    assert shown.console.file.getvalue().endswith("base  starting\n")


def test_plain_lines_show_the_end_of_training():
    """The last step is shown though it comes at once after the one before."""
    _, told = told_by(Lines)
    assert "sft   10/10  loss 0.1  0.5 s/step  0.0 s left" in told


def test_a_step_that_has_not_begun_is_not_stopped_at_a_step():
    """What follows "stopped" reads as English in both cases."""
    shown = Lines(Console(file=io.StringIO()))
    shown.start(["sft"])
    assert shown.where("sft") == "before its first step"


@pytest.mark.parametrize("terminal", [True, False])
def test_long_lines_break_between_words_on_a_terminal_only(terminal):
    """Forty columns: a file keeps the line whole, so that it can be searched."""
    file = io.StringIO()
    text = "chat: before: loss 6.259  perplexity 522.8 on held-out rows"
    say(Console(file=file, width=40, force_terminal=terminal), text)
    lines = file.getvalue().splitlines()
    assert [line.rstrip() for line in lines] == (
        ["chat: before: loss 6.259  perplexity", "522.8 on held-out rows"] if terminal else [text]
    )


def test_names_and_bars_stay_where_a_terminal_is_narrow():
    """Eighty columns and many metrics: what is told is cut, no name is."""
    file = io.StringIO()
    shown = Bars(Console(file=file, width=80, force_terminal=True))
    shown.start(["seedling", "policy"])
    event = progress(8, 1.0) | {"metrics": {"reward": -2.369, "kl": 14.67, "mean_length": 14.125}}
    shown.event("policy", event)
    shown.event("policy", event | {"at": 9, "time": 2.0})
    shown.stop()
    last = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", file.getvalue()).splitlines()[-1]
    assert last.startswith("policy   ━") and "9/10 reward" in last and last.rstrip().endswith("…")


def test_plain_where_there_is_no_terminal():
    """A pipe gets lines; a terminal gets bars unless lines are asked for."""
    terminal = Console(file=io.StringIO(), force_terminal=True)
    assert isinstance(display(Console(file=io.StringIO()), plain=False), Lines)
    assert isinstance(display(terminal, plain=False), Bars)
    assert isinstance(display(terminal, plain=True), Lines)


def test_pace_forgets_on_resume():
    """Going back to a checkpoint does not make negative seconds a step."""
    pace = Pace()
    for at, when in ((1, 0.0), (2, 1.0), (3, 2.0), (1, 100.0)):
        pace.add(at, 10, when)
    assert pace.each is None
    pace.add(2, 10, 103.0)
    assert pace.each == 3.0


def test_figures_are_those_people_watch():
    """The learning rate and unknown metrics stay in the journal."""
    assert figures({"lr": 1.0, "loss": 1.5, "accuracy": 0.5, "x": 1}) == "loss 1.5  accuracy 50%"


@pytest.mark.parametrize(
    ("event", "text"),
    [
        ({"event": "start", "resumed_at": 0}, ""),
        ({"event": "start", "resumed_at": 5}, "goes on from step 5"),
        ({"event": "warning", "text": "x"}, "warning: x"),
        ({"event": "check", "name": "ratio", "value": 1.5, "ok": False}, "check ratio failed: 1.5"),
        ({"event": "check", "name": "ratio", "value": 1.0, "ok": True}, ""),
        (
            {"event": "measure", "when": "before", "at": 0, "metrics": {"loss": 2.5}},
            "before: loss 2.5 on held-out rows",
        ),
        ({"event": "checkpoint", "at": 5}, ""),
    ],
)
def test_remarks(event, text):
    """Which events are worth a line."""
    assert remark(event) == text


def test_amounts_at_a_glance():
    """Durations and bytes in the unit a person would take."""
    seconds = (0.84, 42, 200, 7500, 100000)
    assert [duration(each) for each in seconds] == [
        "0.8 s", "42 s", "3 min 20 s", "2 h 05 min", "1 d 3 h"
    ]  # fmt: skip
    assert [size(each) for each in (12, 1000, 3 << 20, 5 << 28, 2 << 40)] == [
        "12 B", "0.977 KiB", "3 MiB", "1.25 GiB", "2 TiB"
    ]  # fmt: skip
