"""The reuse pass: steps of one plan whose results are the same thing are made once.

A step's key covers all that its result follows from, so the second of two with one key finds the
first's result in the store. What earlier runs left there is known when a plan is shown or run.
"""

from __future__ import annotations

from tunelang.plan.ir import Estimate, Plan, Step
from tunelang.plan.passes.context import Context


def reuse(plan: Plan, context: Context) -> Plan:
    """Copies of an earlier step cost nothing, and say whose they are."""
    first: dict[str, str] = {}
    steps = [_reused(step, first.setdefault(step.key, step.name)) for step in plan.steps]
    return plan.model_copy(update={"steps": steps})


def _reused(step: Step, maker: str) -> Step:
    if maker == step.name:
        return step
    reasons = [f"the same result as `{maker}` makes: it is read from the store"]
    place = step.place.model_copy(update={"reasons": reasons})
    estimate = _free(step.estimate) if step.estimate else None
    return step.model_copy(update={"place": place, "estimate": estimate})


def _free(estimate: Estimate) -> Estimate:
    dollars = None if estimate.dollars is None else 0.0
    none = {"seconds_low": 0.0, "seconds": 0.0, "seconds_high": 0.0, "dollars": dollars}
    return estimate.model_copy(update=none)
