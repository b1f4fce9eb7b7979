"""The scoring pass: a step that scores experts runs where the stage runs that it is for."""

from __future__ import annotations

from tunelang.estimate.inference import Reading, read
from tunelang.plan.experts import METHOD
from tunelang.plan.ir import Plan, Step
from tunelang.plan.machines import machine_of
from tunelang.plan.passes.context import Context
from tunelang.plan.passes.place import architecture_of
from tunelang.plan.passes.reading import one_device


def scoring(plan: Plan, context: Context) -> Plan:
    """Each on one device of the first stage that waits for it, with an estimate of its own."""
    return plan.model_copy(update={"steps": [_placed(step, plan, context) for step in plan.steps]})


def _placed(step: Step, plan: Plan, context: Context) -> Step:
    if step.method != METHOD:
        return step
    reader = next(one for one in plan.steps if step.name in one.after)
    machine = machine_of(context.recipe.declared[reader.name], context.recipe)
    shape = architecture_of(reader, context)
    if machine is None or shape is None or not step.length:
        return step
    width = 4 if step.precision == "fp32" else 2
    sequences = -(-int(step.fields["sample"]) // step.length)
    found = read(Reading(shape, width, sequences=sequences, prompt=step.length), machine)
    place = one_device(machine, found)
    return step.model_copy(update={"place": place, "estimate": found.estimate})
