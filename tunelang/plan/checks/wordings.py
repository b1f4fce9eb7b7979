"""Rules on wordings that need the plan: formats that were recognised, labels that nothing asks."""

from __future__ import annotations

from collections.abc import Iterator

from tunelang.diagnostic import Diagnostic, Label, error, warning
from tunelang.plan.ir import DataPart, Plan, Step
from tunelang.plan.passes.context import Context
from tunelang.plan.wordings import speaks
from tunelang.recipe.model import Declared
from tunelang.rules.stages import data_of
from tunelang.rules.wordings import of_rows

# Methods that train a reply to every row; the others read labels as labels.
REPLYING = ("sft", "instruction_tuning", "multi_task", "esft")


def recognised(plan: Plan, context: Context) -> Iterator[Diagnostic]:
    """TL302, TL420: as `rules.wordings`, for data sets whose format nobody wrote."""
    every = {part.name: part for step in plan.steps for part in parts_of(step)}
    for part in every.values():
        if part.format.recognised:
            yield from of_rows(context.recipe.declared[part.name], part.format.kind)


def unasked(plan: Plan, context: Context) -> Iterator[Diagnostic]:
    """TL302: labels in a stage that trains replies, and no template that asks for them."""
    for step in plan.steps:
        stage = context.recipe.stages.get(step.name)
        for part in parts_of(step) if stage and step.method in REPLYING else ():
            if stage and part.format.kind == "labelled" and not part.wording:
                yield _unasked(stage, context.recipe.declared[part.name])


def _unasked(stage: Declared, data: Declared) -> Diagnostic:
    return error(
        "TL302",
        "wrong-format",
        f"`{data.name}` holds texts and labels, and does not say how `{stage.name}` asks for them",
        data.span,
        "no templates",
        help='write `templates = ["{text}\\nWhat is it?"]`',
        others=(Label(stage.span, "trains replies"),),
    )


def unread(plan: Plan, context: Context) -> Iterator[Diagnostic]:
    """TL422: templates of a data set whose every reader takes the rows as they are."""
    recipe = context.recipe
    for data in recipe.of_kind("data").values():
        readers = [s for s in recipe.stages.values() if data in data_of(s, recipe)]
        if data.get("templates") and readers and not any(speaks(s, recipe) for s in readers):
            names = " and ".join(f"`{stage.name}`" for stage in readers)
            yield warning(
                "TL422",
                "wording-not-read",
                f"{names} read the rows of `{data.name}` as they are, without its templates",
                data.span_of("templates"),
                "read by no stage",
                help="take the templates out, or let a stage that is asked in words read the rows",
            )


def parts_of(step: Step) -> list[DataPart]:
    """Every data set that a step learns from or is measured on, each once."""
    own = [*step.data.parts, *step.data.held_out] if step.data else []
    gated = [gate.measure.data for gate in step.gates if gate.measure.data]
    return list({part.name: part for part in (*own, *gated)}.values())


RULES = (recognised, unasked, unread)
