"""Why a step runs as it does: its choices, what was tried beside them, and where memory goes."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from tunelang.plan.figures import amount, bar, gib, of, span
from tunelang.plan.ir import Estimate, Step
from tunelang.plan.paint import BOLD, DIM, RED, YELLOW, Painted
from tunelang.plan.words import (
    SHARDINGS,
    SPEAKS,
    UNKNOWN,
    method,
    split,
    strategy,
    unknown,
    ways,
    where,
)

if TYPE_CHECKING:
    from tunelang.estimate.ladder import Candidate
    from tunelang.estimate.layout import Layout

KEY = 9  # columns of what a line is about
RUNGS = 10  # rows of the ladder: one of each kind of layout
CELLS = 20
MARKS = {"yes": " ", "tight": "!", "no": "✗"}


def explain(
    step: Step,
    tried: Sequence[Candidate],
    excluded: Sequence[str] = (),
    *,
    width: int = 100,
    colour: bool = False,
) -> str:
    """Choices with their reasons, the ladder of what was `tried`, memory by moment and by term.

    `excluded` says what was not tried at all, and why.
    """
    pen = Painted(colour)
    head = f"{pen(step.name, BOLD)}: {method(step)} on {where(step)}"
    chosen = [reason for reason in step.place.reasons if not reason.startswith(UNKNOWN)]
    lines = [head, *_way(step, width), *_listed("because", chosen, width)]
    lines += ["", *_ladder(step, tried, width, pen)] if tried else []
    lines += _listed("untried", excluded, width)
    lines += _memory(step.estimate, width, pen) if step.estimate else [unknown(step)]
    return "\n".join(lines) + "\n"


def _way(step: Step, width: int) -> Iterator[str]:
    parts = [*split(step), *strategy(step)]
    if parts:
        yield from _said("runs", " · ".join(parts), width)


def _listed(about: str, texts: Sequence[str], width: int) -> Iterator[str]:
    """What they are of stands before the first."""
    for text in texts:
        yield from _said(about, text, width)
        about = ""


def _said(about: str, text: str, width: int) -> list[str]:
    head, hang = f"{about:<{KEY}}", " " * (KEY + 2)
    return textwrap.wrap(text, width, initial_indent=head, subsequent_indent=hang)


def _ladder(step: Step, tried: Sequence[Candidate], width: int, pen: Painted) -> Iterator[str]:
    """The one that was taken, then the best of every other kind of layout."""
    rungs = kinds(tried)
    more = f", the best of each kind of {len(tried):,} layouts" if len(tried) > 1 else ""
    yield pen(f"tried{more}", DIM)
    names = _names([each.layout for each in rungs], step.product == SPEAKS)
    micros = [f"{each.layout.micro} × {each.layout.accumulate}" for each in rungs]
    peaks, times = [gib(each.peak) for each in rungs], [span(each.seconds) for each in rungs]
    columns = [names, micros, peaks, times]
    widths = [max(map(len, column)) for column in columns]
    for rung, *cells in zip(rungs, *columns, strict=True):
        sizes = zip(cells, widths, range(4), strict=True)
        row = "  ".join(c.ljust(w) if i == 0 else c.rjust(w) for c, w, i in sizes)
        mark = "→" if rung.chosen else MARKS[rung.verdict]
        style = BOLD if rung.chosen else {"tight": YELLOW, "no": RED}.get(rung.verdict, "")
        room = len(mark + row + rung.reason) + 3 <= width
        parts = (
            [f"{mark} {row}  {rung.reason}"] if room else [f"{mark} {row}", f"    {rung.reason}"]
        )
        yield from (pen(part, style) for part in parts)


def kinds(tried: Sequence[Candidate]) -> list[Candidate]:
    """The first of each kind of layout, in the order of the ladder: what is shown of it.

    Micro-batches and losses are no kinds: the reasons say what others of them would take.
    """
    found: dict[tuple[object, ...], Candidate] = {}
    for each in tried:
        at = each.layout
        found.setdefault((at.devices, at.sharding, at.checkpointing, at.offload), each)
    return list(found.values())[:RUNGS]


def _names(layouts: Sequence[Layout], speaks: bool) -> list[str]:
    """How each shares the step, and what else not all of them do."""
    words = [ways(each, speaks) for each in layouts]
    every = set.intersection(*map(set, words)) if words else set()
    every -= {SHARDINGS[each.sharding] for each in layouts}
    return [", ".join(word for word in one if word not in every) or "one device" for one in words]


def _memory(estimate: Estimate, width: int, pen: Painted) -> Iterator[str]:
    """The peak, the sums of every moment, and what the worst one consists of."""
    yield ""
    band = f"{gib(estimate.peak_low)} to {gib(estimate.peak_high)}"
    yield from _said("memory", f"{of(estimate.peak, estimate.usable)} a device ({band})", width)
    yield from _said("", f"tensors {amount(estimate.allocated)}, most at `{estimate.phase}`", width)
    if len(estimate.phases) > 1:
        yield pen("by moment", DIM)
        yield from _bars(estimate.phases, pen, estimate.phase)
    yield pen(f"at `{estimate.phase}`, by what it is", DIM)
    outside = {"outside the allocator": estimate.peak - estimate.allocated}
    yield from _bars({**_largest(estimate.terms), **outside}, pen)
    beside = [f"{amount(estimate.host)} of the machine's own memory"] if estimate.host else []
    beside += [f"{amount(estimate.disk)} of disk"] if estimate.disk else []
    if beside:
        yield from _said("beside", ", ".join(beside), width)


def _largest(terms: Mapping[str, int]) -> dict[str, int]:
    return dict(sorted(((n, s) for n, s in terms.items() if s), key=lambda each: -each[1]))


def _bars(sizes: Mapping[str, int], pen: Painted, marked: str = "") -> Iterator[str]:
    """A line each, its bar a share of the largest."""
    most = max(sizes.values(), default=0) or 1
    width = max(map(len, sizes), default=0)
    for name, size in sizes.items():
        drawn = bar(size / most, CELLS).replace("░", " ")
        yield pen(f"  {name:<{width}}  {drawn} {amount(size):>10}", BOLD if name == marked else "")
