"""Rules on margins (TL301): a loss that asks for one reads rows that have one."""

from __future__ import annotations

from collections.abc import Iterator

from tunelang.diagnostic import Diagnostic, Label, error
from tunelang.plan.ir import DataPart, Plan
from tunelang.plan.mixing import known
from tunelang.plan.passes.context import Context
from tunelang.rules.edits import setting


def margin_without_column(plan: Plan, context: Context) -> Iterator[Diagnostic]:
    """TL301: `margin = true`, and no column of the rows holds a margin."""
    for step in plan.steps:
        stage = context.recipe.declared.get(step.name)
        if stage is None or step.fields.get("margin") is not True or step.data is None:
            continue
        for part in step.data.parts:
            if _has_margin(part):
                continue
            lists = part.format.kind == "ranking"
            yield error(
                "TL301",
                "missing-column",
                f"`{stage.name}` asks for margins, and the rows of `{part.name}` have none",
                stage.span_of("margin"),
                "no margin to subtract",
                others=(Label(context.recipe.declared[part.name].span, "declared here"),),
                help="ranked lists have no margin: take `margin` out"
                if lists
                else 'name its column: `format = preference(margin = "...")`',
                fix=setting(stage, "margin", "false"),
            )


def _has_margin(part: DataPart) -> bool:
    """A column plays the role, and it is there where the rows can be seen."""
    column = part.format.columns.get("margin")
    facts = known(part)
    return column is not None and (facts is None or column in facts.columns)


RULES = (margin_without_column,)
