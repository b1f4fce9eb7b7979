"""Passes: Plan -> Plan. One file each; the order is the tuple below."""

from __future__ import annotations

from tunelang.plan.ir import Plan
from tunelang.plan.passes.context import Context
from tunelang.plan.passes.cost import cost
from tunelang.plan.passes.fit import laid_out
from tunelang.plan.passes.fuse import fuse
from tunelang.plan.passes.place import place
from tunelang.plan.passes.recompute import recompute
from tunelang.plan.passes.reuse import reuse
from tunelang.plan.passes.share import share
from tunelang.plan.passes.sized import sized

ORDER = (laid_out, place, share, sized, recompute, fuse, reuse, cost)


def apply(plan: Plan, context: Context) -> Plan:
    """Every pass in order; findings go to the context."""
    for each in ORDER:
        plan = each(plan, context)
    return plan
