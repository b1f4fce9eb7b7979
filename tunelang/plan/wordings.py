"""The words that a step's rows are put into: those of their data set, chosen by the stage's seed.

What tells classes reads texts as they are, and few_shot asks in a pattern of its own: they know no
wordings, so that a change of these is no change of theirs.
"""

from __future__ import annotations

from tunelang.plan.ir import DataPart, Gate, Mixture, Step
from tunelang.recipe.model import Declared, Recipe
from tunelang.rules.stages import reference
from tunelang.sources.parts import Wording

OWN_WORDS = ("few_shot",)
AS_THEY_ARE = ("classifier", "prompted")


def wording_of(declared: Declared) -> Wording | None:
    """What a data declaration says of its words; None where it has no templates."""
    templates = declared.get("templates")
    if not templates:
        return None
    return Wording(
        templates=list(templates),
        held_out=list(declared.get("hold_out_templates") or ()),
        labels=list(declared.get("labels") or ()),
    )


def worded(step: Step, stage: Declared, recipe: Recipe) -> Step:
    """The step with its data sets, those of gates too, in the words that it reads them in."""
    spoken = speaks(stage, recipe)

    def settled(part: DataPart) -> DataPart:
        if part.wording is None:
            return part
        wording = part.wording.model_copy(update={"seed": step.seed}) if spoken else None
        return part.model_copy(update={"wording": wording})

    def mixture(data: Mixture) -> Mixture:
        parts, held = map(settled, data.parts), map(settled, data.held_out)
        return data.model_copy(update={"parts": list(parts), "held_out": list(held)})

    def gate(one: Gate) -> Gate:
        data = one.measure.data and settled(one.measure.data)
        return one.model_copy(update={"measure": one.measure.model_copy(update={"data": data})})

    own = step.data and mixture(step.data)
    return step.model_copy(update={"data": own, "gates": [gate(one) for one in step.gates]})


def speaks(stage: Declared, recipe: Recipe) -> bool:
    """Is a model asked the rows, and not in words of the method?"""
    assert stage.method is not None
    if stage.method.name in OWN_WORDS or stage.product in AS_THEY_ARE:
        return False
    ref = reference(stage, "model")
    measured = recipe.stages.get(ref.name) if ref and stage.product == "metrics" else None
    return measured is None or measured.product not in AS_THEY_ARE
