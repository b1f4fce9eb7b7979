"""A plan on one screen: what every stage runs as, needs and costs, and what the figures rest on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from tunelang.plan.figures import band, bar, dollars, of, span
from tunelang.plan.ir import Plan, Step
from tunelang.plan.notes import notes
from tunelang.plan.paint import BOLD, DIM, PLAIN, Painted, verdict
from tunelang.plan.words import method, room, split, strategy

WIDTH = 100  # columns where no terminal says otherwise
BAR = (4, 12)  # cells of a bar: fewer say nothing, more say no more
GAP = 2
HEAD = ("stage", "method", "memory", "time", "cost")
STAGE, METHOD, MEMORY, TIME, COST = range(5)


@dataclass(frozen=True)
class State:
    """Whether the store holds what a step makes; else the one reason why it runs, if known."""

    reused: bool = False
    reason: str = ""


@dataclass(frozen=True)
class Row:
    """The cells of a line by HEAD; `share` of the memory is drawn as a bar before its cell."""

    cells: tuple[str, ...]
    styles: Mapping[int, str]
    share: float | None = None


def show(
    plan: Plan,
    states: Mapping[str, State] | None = None,
    *,
    width: int = WIDTH,
    colour: bool = False,
) -> str:
    """The plan as a table no wider than `width`; `states` say what is reused, and why not."""
    told = states or {}
    pen = Painted(colour)
    rows = [_row(step, told.get(step.name, State())) for step in plan.steps]
    ends = [_total(plan, told), *_budget(plan, told)]
    grid = Grid([_head([*rows, *ends]), *rows, *ends], width, pen)
    rule = pen("─" * grid.width, DIM)
    lines = [*_title(plan, pen), "", grid.line(grid.rows[0]), rule]
    for step, row in zip(plan.steps, rows, strict=True):
        lines += [grid.line(row), *grid.below(step, told.get(step.name, State()))]
    lines += [rule, *map(grid.line, ends), "", *notes(plan, width)]
    return "\n".join(lines) + "\n"


def _title(plan: Plan, pen: Painted) -> Iterator[str]:
    yield pen(plan.recipe, BOLD) + (f" with profile {plan.profile}" if plan.profile else "")


def _head(rows: Sequence[Row]) -> Row:
    """The names of the columns that have something in them."""
    used = [any(row.cells[i] for row in rows) for i in range(5)]
    names = (name if one else "" for name, one in zip(HEAD, used, strict=True))
    return Row(tuple(names), dict.fromkeys(range(5), DIM))


def _row(step: Step, state: State) -> Row:
    estimate, name = step.estimate, (step.name, method(step))
    if state.reused:
        return Row((*name, "reused", "", ""), dict.fromkeys(range(5), DIM))
    if estimate is None:
        return Row((*name, "", "", ""), {STAGE: BOLD})
    cost = dollars(estimate.dollars) if estimate.dollars is not None else ""
    time = band(estimate.seconds_low, estimate.seconds_high)
    share = room(step)
    styles = {STAGE: BOLD, MEMORY: verdict(share)}
    return Row((*name, of(estimate.peak, estimate.usable), time, cost), styles, share)


def _total(plan: Plan, states: Mapping[str, State]) -> Row:
    ahead, reused = _ahead(plan, states), sum(each.reused for each in states.values())
    found = [step.estimate for step in ahead if step.estimate]
    time = band(sum(e.seconds_low for e in found), sum(e.seconds_high for e in found))
    priced = [e.dollars for e in found if e.dollars is not None]
    counted = f"{len(ahead)} to run, {reused} reused"
    cells = ("total", counted, "", time if found else "", dollars(sum(priced)) if priced else "")
    return Row(cells, {STAGE: BOLD, TIME: BOLD, COST: BOLD})


def _budget(plan: Plan, states: Mapping[str, State]) -> Iterator[Row]:
    """The limits of the recipe under the totals, which are those of all its stages."""
    limit, found = plan.budget, [step.estimate for step in plan.steps if step.estimate]
    if limit.dollars is None and limit.seconds is None:
        return
    spent = sum(each.dollars or 0.0 for each in found)
    took = sum(each.seconds for each in found)
    over_cost = limit.dollars is not None and spent > limit.dollars
    over_time = limit.seconds is not None and took > limit.seconds
    over = [word for word, yes in (("time", over_time), ("cost", over_cost)) if yes]
    yield Row(
        (
            "budget",
            f"over in {' and '.join(over)}" if over else "kept",
            "",
            f"of {_limit(limit.seconds)}" if limit.seconds is not None else "",
            f"of {dollars(limit.dollars)}" if limit.dollars is not None else "",
        ),
        {
            METHOD: verdict(2.0 if over else 0.0),
            TIME: verdict(2.0) if over_time else PLAIN,
            COST: verdict(2.0) if over_cost else PLAIN,
        },
    )


def _limit(seconds: float) -> str:
    """As it is written, and no more exact: `14 d`, not `14.0 d`."""
    return span(seconds).replace(".0 ", " ")


def _ahead(plan: Plan, states: Mapping[str, State]) -> list[Step]:
    return [step for step in plan.steps if not states.get(step.name, State()).reused]


class Grid:
    """Rows under common widths: bars take what is left of the line, long methods give way."""

    def __init__(self, rows: Sequence[Row], width: int, pen: Painted) -> None:
        self.rows, self.pen = rows, pen
        self.widths = [max(len(row.cells[i]) for row in rows) for i in range(5)]
        left = width - sum(self.widths) - 4 * GAP - 1
        self.cells = min(BAR[1], left) if left >= BAR[0] else 0
        if left < -1:
            self.widths[METHOD] = max(12, self.widths[METHOD] + left + 1)
        extra = self.cells + 1 if self.cells else 0
        self.width = min(width, sum(self.widths) + 4 * GAP + extra)

    def line(self, row: Row) -> str:
        return (" " * GAP).join(self._cell(row, i) for i in range(5)).rstrip()

    def _cell(self, row: Row, column: int) -> str:
        text, width = row.cells[column], self.widths[column]
        if len(text) > width:
            text = text[: width - 1] + "…"
        shown = text.ljust(width) if column < MEMORY else text.rjust(width)
        painted = self.pen(shown, row.styles.get(column, PLAIN))
        return self._bar(row) + painted if column == MEMORY else painted

    def _bar(self, row: Row) -> str:
        if not self.cells:
            return ""
        if row.share is None:
            return " " * (self.cells + 1)
        return self.pen(bar(row.share, self.cells), row.styles.get(MEMORY, PLAIN)) + " "

    def below(self, step: Step, state: State) -> Iterator[str]:
        """How the step runs, as many clauses on a line as there is room for; why it runs."""
        if state.reused:
            return
        indent = self.widths[STAGE] + GAP
        line = ""
        for part in (*split(step), *strategy(step)):
            joined = f"{line} · {part}" if line else part
            if line and indent + len(joined) > self.width:
                yield self._below(line, indent)
                joined = part
            line = joined
        if line:
            yield self._below(line, indent)
        if state.reason:
            yield self._below(f"runs: {state.reason}", indent)

    def _below(self, text: str, indent: int) -> str:
        return " " * indent + self.pen(text, DIM)
