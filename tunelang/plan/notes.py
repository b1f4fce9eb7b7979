"""What stands under a plan's table: where it runs, its data, its mixes, what figures rest on."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from tunelang.plan.ir import Plan, Step
from tunelang.plan.mixing import shared
from tunelang.plan.shares import shares
from tunelang.plan.words import unknown, where

KEY = 9  # columns of what a note is about


def notes(plan: Plan, width: int) -> Iterator[str]:
    """A note a line, and what does not fit on it under itself; none is said twice."""
    every = (*_places(plan), *_data(plan), *_mixes(plan), *_basis(plan))
    for about, text in dict.fromkeys(every):
        hang = " " * KEY
        head = f"{about:<{KEY}}"
        yield from textwrap.wrap(
            text, width, initial_indent=head, subsequent_indent=hang, break_long_words=False
        )


def _places(plan: Plan) -> Iterator[tuple[str, str]]:
    found: dict[str, list[str]] = {}
    for step in plan.steps:
        if step.schedule or step.estimate:
            found.setdefault(where(step), []).append(step.name)
    for text, names in found.items():
        yield "where", text if len(found) == 1 else f"{text}: {', '.join(names)}"


def _data(plan: Plan) -> Iterator[tuple[str, str]]:
    for step in plan.steps:
        for part in step.data.parts if step.data else ():
            if part.format.recognised:
                yield "data", f"{part.name}: recognised as {part.format.recognised}"


def _mixes(plan: Plan) -> Iterator[tuple[str, str]]:
    for step in plan.steps:
        if found := _shares(step):
            yield "mix", f"{step.name}: {found}"


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


def _basis(plan: Plan) -> Iterator[tuple[str, str]]:
    for step in plan.steps:
        if step.estimate:
            yield "rests on", step.estimate.basis
        elif step.schedule:
            yield "unknown", f"{step.name}: {unknown(step)}"
