"""Rules that need the plan: steps, extents, estimates and what the rows say. One file a group.

As under `tunelang.rules`, a module's `RULES` are functions that yield findings; these see the plan
and its context.
"""

from __future__ import annotations

from tunelang import registry
from tunelang.diagnostic import Diagnostic
from tunelang.plan.ir import Plan
from tunelang.plan.passes.context import Context


def check(plan: Plan, context: Context) -> list[Diagnostic]:
    """What every rule of this folder says of a placed plan."""
    parts = registry.parts("plan.checks", "RULES")
    return [found for rules in parts for rule in rules for found in rule(plan, context)]
