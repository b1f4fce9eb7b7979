"""The end of a run on one screen: what changed, samples, where it lies, what to do next."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from tunelang import metrics as vocabulary
from tunelang.run.amounts import duration, size
from tunelang.run.gates import Verdict, value
from tunelang.run.outcome import Outcome, Result
from tunelang.run.store import Store

SAMPLES = 3
FIGURES = 3  # of a stage that trains nothing: what fits a line
HEADLINES = ("reward", "accuracy", "perplexity", "loss")  # the first of these that was measured
STATES = {"run": "run", "reused": "reused", "failed": "failed", "stopped": "stopped"}
GAIN, LOSS = "green", "red"


def show(console: Console, outcome: Outcome, store: Store, recipe: str) -> None:
    """Print the closing page of a run that reached at least one step."""
    if not outcome.results:
        return
    console.print()
    console.print(table(outcome.results))
    if outcome.exit_code == 0:
        console.print(Group(*_samples(outcome.results, store)))
        console.print(Group(*_next(outcome.results, store, recipe)), soft_wrap=True)


def table(results: tuple[Result, ...]) -> Table:
    """One row a stage."""
    shown = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for heading in ("stage", "before → after", "", "gates", "time", "memory", ""):
        shown.add_column(heading, justify="right" if heading in ("time", "memory") else "left")
    for result in results:
        change, verdict = _change(result)
        seconds = duration(result.seconds) if result.seconds else ""
        memory = size(result.peak_bytes) if result.peak_bytes else ""
        gates = _gates(result.verdicts)
        shown.add_row(result.step.name, change, verdict, gates, seconds, memory, _state(result))
        for task in (name for name in result.after if name.startswith("loss(")):
            shown.add_row(f"  {task[5:-1]}", *_changed(result, task))
    return shown


def better(metric: str, before: float, after: float) -> str:
    """`better`, `worse`, `same`, or nothing for a metric that has no good direction."""
    known = vocabulary.of(metric)
    if known is None or known.better == "neither":
        return ""
    if before == after:
        return "same"
    return "better" if (after < before) == (known.better == "less") else "worse"


def _change(result: Result) -> tuple[str, Text]:
    """The headline metric before and after, and whether that is better."""
    if not result.before:
        return _figures(result), Text("")
    metric = next((name for name in HEADLINES if name in result.after), None)
    return _changed(result, metric) if metric else ("", Text(""))


def _changed(result: Result, metric: str) -> tuple[str, Text]:
    """One metric before and after; `loss(law.hold_out)` is told as the loss of its row."""
    before, after = result.before, result.after
    name, to = metric.split("(")[0], _figure(metric, after[metric])
    if metric not in before:
        return f"{name} {to}", Text("")
    was = _figure(metric, before[metric])
    change = f"{name} {was} → {to}{_error(metric, after)}"
    if was == to:  # a verdict on digits that nobody sees would puzzle
        return change, Text("= same")
    words = better(metric, before[metric], after[metric])
    if abs(after[metric] - before[metric]) <= after.get(f"{metric}_se", 0.0):
        words = "same within error"
    arrow = "↑" if after[metric] > before[metric] else "↓"
    style = {"better": GAIN, "worse": LOSS}.get(words, "")
    return change, Text(f"{arrow} {words}", style=style)


def _figures(result: Result) -> str:
    """What a stage measured that trains nothing: first what its recipe asks for."""
    after, asked = result.after, result.step.fields.get("metrics") or ()
    names = (*asked, *HEADLINES, *vocabulary.METRICS)
    known = dict.fromkeys(name for name in names if name in after)
    told = (f"{name} {_figure(name, after[name])}{_error(name, after)}" for name in known)
    return ", ".join(list(told)[: max(FIGURES, len(asked))])


def _error(metric: str, metrics: Mapping[str, float]) -> str:
    """The standard error of a metric, where it was measured."""
    spread = metrics.get(f"{metric}_se")
    return f" ± {_figure(metric, spread).partition(' ')[0]}" if spread is not None else ""


def _figure(metric: str, amount: float) -> str:
    """Three figures: the line fits a terminal, and more would claim what nobody measured."""
    return value(metric, float(f"{amount:.3g}"))


def _gates(verdicts: tuple[Verdict, ...]) -> Text:
    if not verdicts:
        return Text("")
    passed = sum(verdict.passed for verdict in verdicts)
    whole = passed == len(verdicts)
    return Text(f"{passed}/{len(verdicts)} {'✓' if whole else '✗'}", style=GAIN if whole else LOSS)


def _state(result: Result) -> Text:
    style = {"reused": "dim", "failed": LOSS, "stopped": "yellow"}.get(result.state, "")
    return Text(STATES[result.state], style=style)


def _samples(results: tuple[Result, ...], store: Store) -> Iterator[RenderableType]:
    """The last stage's replies to the same prompts, before and after."""
    for result in reversed(results):
        path = store.object(result.step.key) / "samples.json"
        if not path.exists():
            continue
        samples: list[dict[str, Any]] = json.loads(path.read_text("utf-8"))
        for sample in samples[:SAMPLES]:
            shown = Table.grid(padding=(0, 2, 0, 0))
            for name in ("prompt", "before", "after"):
                if name in sample:  # replies of a stage that trains nothing have no before
                    shown.add_row(Text(f"{name:>8}", style="dim"), _shortened(sample[name]))
            yield Text("")
            yield shown
        return


def _shortened(text: str, width: int = 240) -> Text:
    """On one line; what is left out is marked."""
    line = " ".join(str(text).split())
    rest = len(line) - width
    return Text(line if rest <= 0 else f"{line[:width]} … ({rest} more characters)")


def _next(results: tuple[Result, ...], store: Store, recipe: str) -> Iterator[RenderableType]:
    last = results[-1].step
    yield Text("")
    yield Text(f"`{last.name}` is in {store.object(last.key)}")
    made = [result.step for result in results]
    talkers = [step.name for step in made if step.product in ("lm", "prompted")]
    if talkers:
        yield Text(f"talk to it:  tunelang chat {talkers[-1]} --recipe {recipe}")
    for step in made:
        rows = store.object(step.key) / "rows.jsonl"
        if step.product == "data" and rows.exists():
            yield Text(f"rows of `{step.name}`:  {rows}")
        if step.product == "export":
            yield Text(f"copy `{step.name}`:  cp -r {store.object(step.key) / 'export'} FOLDER")
