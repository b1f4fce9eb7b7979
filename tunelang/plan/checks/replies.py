"""A rule on conversations (TL415): how many of their replies are trained."""

from __future__ import annotations

from collections.abc import Iterator

from tunelang.diagnostic import Diagnostic, Label, replace, warning
from tunelang.plan.checks.seen import of_step
from tunelang.plan.ir import HubSource, Plan, Step
from tunelang.plan.passes.context import Context
from tunelang.recipe.model import Declared


def loss_on_last_only(plan: Plan, context: Context) -> Iterator[Diagnostic]:
    """TL415: conversations, and every reply but the last is left out.

    Rows that are here are counted; of others it is said where they are conversations at all.
    """
    for step in plan.steps:
        stage = context.recipe.declared.get(step.name)
        if stage is None or stage.kind != "stage" or stage.get("loss_on") != "last":
            continue
        for name, said in _several(step, context):
            yield _last_only(stage, context.recipe.declared[name], said)


def _several(step: Step, context: Context) -> Iterator[tuple[str, str]]:
    """Data sets with several replies in a row, and how that was seen."""
    for seen in of_step(step, context):
        if seen.facts.dialogues:
            share = f"{seen.facts.dialogues:,} of {seen.facts.train:,} rows have several replies"
            yield seen.part.name, share
    for part in step.data.parts if step.data else ():
        if isinstance(part.source, HubSource) and part.format.kind == "chat":
            yield part.name, "rows are conversations"


def _last_only(stage: Declared, data: Declared, said: str) -> Diagnostic:
    span = stage.span_of("loss_on")
    return warning(
        "TL415",
        "loss-on-last-only",
        f"`{stage.name}` trains the last reply of each conversation of `{data.name}` only",
        span,
        "other replies get no loss",
        others=(Label(data.span, said),),
        help="write `loss_on = assistant` to learn from every reply",
        fix=replace(span, "assistant", safe=False),
    )


RULES = (loss_on_last_only,)
