"""What rules look at: the local parts of a step with the facts of their rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tunelang.plan.ir import DataPart, Plan, Step
from tunelang.plan.mixing import known
from tunelang.plan.passes.context import Context
from tunelang.recipe import graph
from tunelang.recipe.model import Declared
from tunelang.sources.probe import Facts


@dataclass(frozen=True)
class Seen:
    """A part of a stage's data, its declaration, and what its rows say."""

    stage: Declared
    step: Step
    part: DataPart
    data: Declared
    facts: Facts


def every(plan: Plan, context: Context) -> Iterator[Seen]:
    """The parts of all stages whose rows are here."""
    for step in plan.steps:
        yield from of_step(step, context)


def of_step(step: Step, context: Context) -> Iterator[Seen]:
    """The parts of one stage whose rows are here."""
    stage = context.recipe.declared.get(step.name)
    for part in step.data.parts if step.data and stage else ():
        data = context.recipe.declared[part.name]
        found = None if data.get("stream") else known(part)
        if stage and found:
            yield Seen(stage, step, part, data, found)


def positions(step: Step, context: Context) -> int | None:
    """The positions of the model that a stage goes back to, None where they are not known."""
    root = graph.root_of(context.recipe, step.name)
    base = context.bases.get(root) if root else None
    return (base.architecture.positions or None) if base and base.architecture else None


def told(share: float) -> str:
    """A share of a sample, as it stands before `of the rows`."""
    return "all" if share >= 1 else f"about {share:.0%}"
