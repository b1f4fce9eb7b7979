"""The recompute pass: what is computed once and read by every stage, epoch and point that needs it.

A reference's log-probabilities and the scores of experts are steps of their own with keys of their
own (plan/reference.py, plan/experts.py): they run again where an input of theirs changes, and for
no change of what only reads them. Here each gets a place beside its first reader, an estimate, and
the figure that it is worth.
"""

from __future__ import annotations

from tunelang.estimate.inference import Reading, read
from tunelang.methods.preference import LOG_PROBS
from tunelang.plan import experts, reference
from tunelang.plan.ir import Plan, Step
from tunelang.plan.machines import hardware_of, machine_of, submit_of
from tunelang.plan.passes.context import Context
from tunelang.plan.passes.place import on
from tunelang.plan.passes.reading import alone, said
from tunelang.plan.passes.works import architecture_of, usual
from tunelang.recipe.model import Declared

INPUTS = {reference.METHOD: LOG_PROBS, experts.METHOD: "scores"}  # what readers call it


def recompute(plan: Plan, context: Context) -> Plan:
    """Each such step on one device of the first stage that reads it."""
    return plan.model_copy(update={"steps": [_placed(step, plan, context) for step in plan.steps]})


def _placed(step: Step, plan: Plan, context: Context) -> Step:
    readers = [one for one in plan.steps if _reads(one, step)]
    if not readers:
        return step
    first = readers[0]
    stage = context.recipe.declared[first.name]
    machine = machine_of(stage, context.recipe, context.calibrations)
    work = _work(step, first, stage, context)
    if machine is None or work is None:
        return step
    needs = read(work, machine)
    context.found.extend(said(step, stage, (machine, needs), context))
    found = alone(step, needs)
    update = {
        **on(machine, 1),
        "submit": submit_of(hardware_of(stage, context.recipe)),
        "reasons": [_worth(found, readers)],
    }
    return found.model_copy(update={"place": found.place.model_copy(update=update)})


def _reads(reader: Step, step: Step) -> bool:
    kept = reader.inputs.get(INPUTS.get(step.method, ""))
    return kept is not None and kept.kind == "store" and kept.key == step.key


def _worth(step: Step, readers: list[Step]) -> str:
    names = ", ".join(f"`{one.name}`" for one in readers)
    minutes = step.estimate.seconds / 60 if step.estimate else 0.0
    again = "no other setting of theirs" if len(readers) > 1 else "no other setting of it"
    return f"computed once for {names}: {again} makes these {minutes:,.1f} minutes run again"


def _work(step: Step, reader: Step, stage: Declared, context: Context) -> Reading | None:
    """One pass over what the step reads."""
    shape = architecture_of(reader, context)
    if shape is None or not step.length:
        return None
    width = 4 if step.precision == "fp32" else 2
    if step.method == experts.METHOD:
        sequences = -(-int(step.fields["sample"]) // step.length)
        return Reading(shape, width, sequences=sequences, prompt=step.length)
    assert stage.method
    extent, each = context.extents.get(reader.name), stage.method.sequences
    return Reading(
        shape,
        width,
        sequences=each * ((extent.rows if extent else None) or 0),
        prompt=usual(reader, extent, each),
        quantised=step.weights is not None and step.weights.kind == "qlora",
    )
