"""The rule on ranked data (TL551): a list must say its order, or a judge must."""

from __future__ import annotations

from collections.abc import Iterator

from tunelang.diagnostic import Diagnostic, Label, error
from tunelang.plan.ir import DataPart, Plan
from tunelang.plan.mixing import known
from tunelang.plan.passes.context import Context

ORDER = ("ranks", "scores")  # the columns of a list that say it


def no_order(plan: Plan, context: Context) -> Iterator[Diagnostic]:
    """TL551: replies without ranks or scores, and no reward model to score them."""
    for step in plan.steps:
        stage = context.recipe.declared.get(step.name)
        if step.method != "comparative_ranking" or not stage or not step.data:
            continue
        if "reward" in step.inputs:
            continue
        for part in step.data.parts:
            if part.format.kind == "ranking" and not _says(part):
                declared = context.recipe.declared[part.name]
                yield error(
                    "TL551",
                    "no-order",
                    f"nothing says which reply of `{part.name}` is the better one",
                    stage.span_of("data"),
                    "no ranks, no scores",
                    others=(Label(declared.span, "its rows"),),
                    help='map a column with `ranking(scores = "...")`, or name a judge with '
                    "`reward`",
                )


def _says(part: DataPart) -> bool:
    """Is there a column with an order? Rows that are elsewhere are taken at their format's word."""
    named = {part.format.columns[role] for role in ORDER if role in part.format.columns}
    seen = known(part)
    return bool(named & set(seen.columns) if seen else named)


RULES = (no_order,)
