"""Passes: Plan -> Plan. One file each; the order is the tuple below."""

from __future__ import annotations

from tunelang.plan.ir import Plan
from tunelang.plan.passes.budget import budget
from tunelang.plan.passes.context import Context
from tunelang.plan.passes.place import place
from tunelang.plan.passes.reference import reference
from tunelang.plan.passes.scoring import scoring

ORDER = (place, reference, scoring, budget)


def apply(plan: Plan, context: Context) -> Plan:
    """Every pass in order; findings go to the context."""
    for each in ORDER:
        plan = each(plan, context)
    return plan
