"""The cost pass: predicted cost and time against what the recipe allows."""

from __future__ import annotations

from tunelang.diagnostic import error, warning
from tunelang.plan.figures import span
from tunelang.plan.ir import Plan
from tunelang.plan.passes.context import Context
from tunelang.units import show


def cost(plan: Plan, context: Context) -> Plan:
    """TL707 over-budget and TL708 over-time; the plan itself is unchanged."""
    estimates = [step.estimate for step in plan.steps if step.estimate]
    limits = context.recipe.budget
    cost = sum(each.dollars or 0 for each in estimates)
    if "cost" in limits and cost > limits["cost"].value.amount:
        limit = limits["cost"]
        context.found.append(
            error(
                "TL707",
                "over-budget",
                f"the recipe is estimated at {_money(cost)}, the budget is {show(limit.value)}",
                limit.span,
                "less than the estimate",
                help=_dearest(plan),
            )
        )
    seconds = sum(each.seconds for each in estimates)
    if "time" in limits and seconds > limits["time"].value.amount:
        limit = limits["time"]
        context.found.append(
            warning(
                "TL708",
                "over-time",
                f"the recipe is estimated at {span(seconds)}, the budget is {show(limit.value)}",
                limit.span,
                "less than the estimate",
                help=_longest(plan),
            )
        )
    return plan


def _dearest(plan: Plan) -> str:
    dearest = max(plan.steps, key=lambda step: (step.estimate.dollars or 0) if step.estimate else 0)
    dollars = (dearest.estimate.dollars or 0) if dearest.estimate else 0
    return f"`{dearest.name}` is the dearest stage with {_money(dollars)}"


def _money(dollars: float) -> str:
    """Cents where they matter."""
    return f"${dollars:,.2f}" if dollars < 100 else f"${dollars:,.0f}"


def _longest(plan: Plan) -> str:
    longest = max(plan.steps, key=lambda step: step.estimate.seconds if step.estimate else 0)
    seconds = longest.estimate.seconds if longest.estimate else 0
    return f"`{longest.name}` takes longest with {span(seconds)}"
