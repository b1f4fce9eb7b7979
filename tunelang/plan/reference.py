"""The step that computes a reference's log-probabilities once, before the stage that needs them.

Its key covers what those numbers follow from and nothing else: the rows, the reference, the
length, the form of speech and the precision. So every run, every epoch and every point of a sweep
over beta, loss or learning rate reads the same ones, and none can read those of another model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tunelang.methods.comparative_ranking import WITHOUT_REFERENCE
from tunelang.methods.preference import LOG_PROBS
from tunelang.plan.ir import Mixture, Step, StoreModel, Weights
from tunelang.plan.keys import key_of
from tunelang.plan.schedule import Extent
from tunelang.recipe import kinds
from tunelang.recipe.model import Declared, Recipe

METHOD, VERSION = "reference_log_probs", 1
WORKER = "tunelang.train.reference"


@dataclass(frozen=True)
class Around:
    """What a stage stands among: the recipe, the steps so far and the rows that it has."""

    recipe: Recipe
    steps: dict[str, Step]
    extent: Extent | None


def arranged(step: Step, stage: Declared, around: Around) -> Step:
    """The stage's step, reading what a step before it computed where that saves."""
    if not uses_reference(stage) or not once(step, stage, around):
        return step
    before = computing(step)
    known = next((one for one in around.steps.values() if one.key == before.key), before)
    around.steps[known.name] = known
    return step.model_copy(
        update={
            "inputs": {**step.inputs, LOG_PROBS: StoreModel(key=known.key)},
            "after": [*step.after, known.name],
        }
    )


def uses_reference(stage: Declared) -> bool:
    """Does the stage's loss read a reference?"""
    loss = stage.get("loss")
    chosen = getattr(loss, "name", None)
    return LOG_PROBS in stage.values and chosen not in WITHOUT_REFERENCE


def once(step: Step, stage: Declared, around: Around) -> bool:
    """Computed before, or along with the stage? As written; else before wherever that saves.

    A reference that is the start of a LoRA stage costs no memory (its adapter is switched off), and
    in one epoch it reads each reply once either way. In all other cases computing before spares a
    second model in memory, or a forward pass for each later epoch and point of a sweep.
    """
    said = str(stage.get(LOG_PROBS))
    if said != "auto":
        return said == "precomputed"
    assert step.weights and step.schedule and step.batch
    beside = step.weights.kind in ("lora", "qlora") and (
        step.inputs["reference"] == step.inputs[_start(stage)]
    )
    rows = around.extent.rows if around.extent else None
    size = step.batch.size  # the last batch of an epoch begins the next one
    again = rows is None or step.schedule.steps * size >= rows + size
    return not beside or again or bool(around.recipe.sweeps)


def _start(stage: Declared) -> str:
    assert stage.method is not None
    return stage.method.inputs[0]


def computing(step: Step) -> Step:
    """The step that computes what `step` reads."""
    assert step.data is not None
    inputs = {"model": step.inputs["reference"]}
    if step.inputs["reference"] != step.inputs["model"]:
        inputs["speaks"] = step.inputs["model"]
    made = Step(
        name=f"{step.name}.reference",
        method=METHOD,
        method_version=VERSION,
        worker=WORKER,
        key="",
        product="data",
        seed=0,
        precision=step.precision,
        inputs=inputs,
        data=every_row(step),
        weights=held(step),
        length=step.length,
        fields={"rows": "feedback" if step.method == "kto" else "replies"},
        stack=step.stack,
        place=step.place,
        after=step.after,
    )
    return made.model_copy(update={"key": key_of(made)})


def every_row(step: Step) -> Mixture:
    """The data without what only training looks at: shares and, for lists, what is held out.

    Single judgements are paired with their neighbours, which depend on what is held out.
    """
    assert step.data is not None
    changed: Mapping[str, object] = {"weight": 1.0}
    if step.method != "kto":
        changed = {**changed, "hold_out": None}
    return Mixture(parts=[part.model_copy(update=changed) for part in step.data.parts])


def held(step: Step) -> Weights | None:
    """How the stage holds its start: log-probabilities depend on it, on an adapter's shape not."""
    assert step.weights is not None
    shape = kinds.weights()["lora"].fields
    fields = {name: value for name, value in step.weights.fields.items() if name not in shape}
    return Weights(kind=step.weights.kind, fields=fields)
