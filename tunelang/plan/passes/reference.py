"""The reference pass: a step that computes log-probabilities runs where its stage runs."""

from __future__ import annotations

from tunelang.estimate.inference import Reading, read
from tunelang.methods.preference import LOG_PROBS
from tunelang.plan.ir import Plan, Step
from tunelang.plan.machines import machine_of
from tunelang.plan.passes.context import Context
from tunelang.plan.passes.place import architecture_of, usual
from tunelang.plan.passes.reading import one_device
from tunelang.plan.reference import METHOD
from tunelang.recipe.model import Declared


def reference(plan: Plan, context: Context) -> Plan:
    """Each on one device of the first stage that reads it, with an estimate of its own."""
    return plan.model_copy(update={"steps": [_placed(step, plan, context) for step in plan.steps]})


def _placed(step: Step, plan: Plan, context: Context) -> Step:
    if step.method != METHOD:
        return step
    reader = next(one for one in plan.steps if _reads(one, step))
    stage = context.recipe.declared[reader.name]
    machine = machine_of(stage, context.recipe)
    work = _work(step, reader, stage, context)
    if machine is None or work is None:
        return step
    found = read(work, machine)
    place = one_device(machine, found)
    return step.model_copy(update={"place": place, "estimate": found.estimate})


def _reads(step: Step, other: Step) -> bool:
    kept = step.inputs.get(LOG_PROBS)
    return kept is not None and kept.kind == "store" and kept.key == other.key


def _work(step: Step, reader: Step, stage: Declared, context: Context) -> Reading | None:
    """One pass over every reply of the stage's rows."""
    shape, extent = architecture_of(reader, context), context.extents.get(reader.name)
    if shape is None or stage.method is None or step.weights is None:
        return None
    each = stage.method.sequences
    return Reading(
        shape,
        4 if step.precision == "fp32" else 2,
        sequences=each * ((extent.rows if extent else None) or 0),
        prompt=usual(reader, extent, each),
        quantised=step.weights.kind == "qlora",
    )
