"""Passes: Plan -> Plan. One file each; the order is the tuple below."""

from __future__ import annotations

from collections.abc import Mapping

from tunelang.diagnostic import Diagnostic
from tunelang.plan.ir import Plan
from tunelang.plan.models import Base
from tunelang.plan.passes.budget import budget
from tunelang.plan.passes.context import Context
from tunelang.plan.passes.place import place
from tunelang.recipe.model import Recipe

ORDER = (place, budget)


def apply(plan: Plan, recipe: Recipe, bases: Mapping[str, Base], found: list[Diagnostic]) -> Plan:
    """Every pass in order; findings are added to `found`."""
    context = Context(recipe, bases, found)
    for each in ORDER:
        plan = each(plan, context)
    return plan
