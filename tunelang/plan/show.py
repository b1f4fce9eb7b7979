"""A plan on one screen: a row a step, totals, and what the figures rest on."""

from __future__ import annotations

from collections.abc import Collection

from tunelang.plan.ir import Plan, Step
from tunelang.plan.mixing import shared
from tunelang.plan.shares import shares

COLUMNS = ("stage", "method", "", "steps", "batch", "memory", "time", "cost")


def show(plan: Plan, done: Collection[str] = ()) -> str:
    """The plan as a table; `done` names the steps whose result is in the store."""
    rows = [_row(step, step.name in done) for step in plan.steps]
    rows = [COLUMNS, *rows, _totals(plan, done)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(COLUMNS))]
    lines = [
        "  ".join(_align(cell, widths[i], i) for i, cell in enumerate(row)).rstrip() for row in rows
    ]
    rule = "─" * max(map(len, lines))
    head = f"{plan.recipe}" + (f" with profile {plan.profile}" if plan.profile else "")
    return (
        "\n".join([head, "", lines[0], rule, *lines[1:-1], rule, lines[-1], "", *_notes(plan)])
        + "\n"
    )


def _align(cell: str, width: int, column: int) -> str:
    return cell.ljust(width) if column < 3 else cell.rjust(width)


def _row(step: Step, done: bool) -> tuple[str, ...]:
    estimate = step.estimate
    return (
        step.name,
        _method(step),
        "reused" if done else "run",
        f"{step.schedule.steps:,}" if step.schedule else "",
        _batch(step),
        gib(estimate.peak) if estimate and not done else "",
        f"{span(estimate.seconds_low)}–{span(estimate.seconds_high)}"
        if estimate and not done
        else "",
        f"${estimate.dollars:,.2f}"
        if estimate and estimate.dollars is not None and not done
        else "",
    )


def _method(step: Step) -> str:
    weights = step.weights.kind if step.weights else ""
    name = step.method.replace("_", " ")
    return f"{name}, {weights}" if weights and weights != "full" else name


def _batch(step: Step) -> str:
    if not step.batch:
        return ""
    place = step.place
    devices = max(1, place.gpus)
    split = [str(place.micro)]
    split += [f"×{place.accumulate}"] if place.accumulate > 1 else []
    split += [f"×{devices} GPUs"] if devices > 1 else []
    return f"{step.batch.size} = {''.join(split)}" if len(split) > 1 else f"{step.batch.size}"


def _totals(plan: Plan, done: Collection[str]) -> tuple[str, ...]:
    ahead = [step.estimate for step in plan.steps if step.estimate and step.name not in done]
    low, high = sum(each.seconds_low for each in ahead), sum(each.seconds_high for each in ahead)
    dollars = [each.dollars for each in ahead if each.dollars is not None]
    peak = max((each.peak for each in ahead), default=0)
    counted = f"{len(plan.steps) - len(done)} to run, {len(done)} reused"
    time = f"{span(low)}–{span(high)}" if ahead else "0 s"
    return (
        counted,
        "",
        "",
        "",
        "",
        gib(peak) if peak else "",
        time,
        f"${sum(dollars):,.2f}" if dollars else "",
    )


def _notes(plan: Plan) -> list[str]:
    places: dict[str, list[str]] = {}
    for step in plan.steps:
        if step.schedule or step.estimate:
            places.setdefault(_where(step), []).append(step.name)
    notes = [f"where   {text}: {', '.join(names)}" for text, names in places.items()]
    shapes = [
        f"data    {part.name}: recognised as {part.format.recognised}"
        for step in plan.steps
        if step.data
        for part in step.data.parts
        if part.format.recognised
    ]
    mixes = [f"mix     {step.name}: {found}" for step in plan.steps if (found := _shares(step))]
    rests = [
        f"rests on {text}"
        for text in dict.fromkeys(s.estimate.basis for s in plan.steps if s.estimate)
    ]
    unknown = [
        f"{s.name}: no estimate, its model is not in the catalogue"
        for s in plan.steps
        if s.schedule and not s.estimate
    ]
    return [*notes, *dict.fromkeys(shapes), *mixes, *rests, *unknown]


def _shares(step: Step) -> str:
    """Both ways to count them; tokens are estimated from characters, of rows that are here."""
    counted = [
        f"{part.name} {part.rows:.0%} of rows, about {part.tokens:.0%} of trained tokens"
        for part in shared(step)
    ]
    if not counted and step.data and len(step.data.parts) > 1 and step.data.strategy == "fixed":
        of = "trained tokens" if step.data.by == "tokens" else "rows"
        counted = [
            f"{part.name} {share:.0%} of {of}"
            for part, share in zip(step.data.parts, shares(step.data, []), strict=True)
        ]
    return "; ".join(counted)


def _where(step: Step) -> str:
    place = step.place
    device = (
        f"{place.gpus} × {place.gpu}" if place.device == "cuda" else f"CPU, {place.threads} threads"
    )
    extras: list[str] = [place.sharding] if place.sharding != "none" else []
    extras += ["activation checkpointing"] if place.checkpointing else []
    return ", ".join([device, step.precision, *extras])


def gib(size: int) -> str:
    """Bytes as people compare them with a card: `18.9 GiB`."""
    return f"{size / 2**30:.1f} GiB"


def span(seconds: float) -> str:
    """`45 s`, `3 min`, `2.4 h`, `3.1 d`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    if seconds < 172800:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 86400:.1f} d"
