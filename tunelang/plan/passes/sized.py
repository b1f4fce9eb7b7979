"""The sized pass: what the sizes of a step's model were read off."""

from __future__ import annotations

from tunelang.plan.ir import Plan, Step
from tunelang.plan.passes.context import Context
from tunelang.recipe import graph


def sized(plan: Plan, context: Context) -> Plan:
    """One more reason for every step whose model's sizes count for something."""
    return plan.model_copy(update={"steps": [_told(step, context) for step in plan.steps]})


def _told(step: Step, context: Context) -> Step:
    root = graph.root_of(context.recipe, step.name) if step.estimate else None
    base = context.bases.get(root) if root else None
    if root is None or base is None or base.architecture is None:
        return step
    line = f"sizes of `{root}` ({base.architecture.name}) from {base.origin}"
    if base.catalogued not in (None, base.architecture):
        line += ", which is not what the catalogue has (TL428)"
    place = step.place.model_copy(update={"reasons": [*step.place.reasons, line]})
    return step.model_copy(update={"place": place})
