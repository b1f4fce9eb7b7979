"""The fit pass: how each step that trains is laid out, and what it is predicted to need."""

from __future__ import annotations

from tunelang.estimate.fit import Fit, fit
from tunelang.estimate.machine import Machine
from tunelang.estimate.reasons import reasons
from tunelang.estimate.work import Work
from tunelang.plan.ir import Plan, Step
from tunelang.plan.machines import machine_of
from tunelang.plan.passes import reading, shortage
from tunelang.plan.passes.context import Context
from tunelang.plan.passes.works import architecture_of, work_of
from tunelang.plan.words import UNKNOWN


def laid_out(plan: Plan, context: Context) -> Plan:
    """Every step with its layout and estimate; TL701, TL702 and TL714 on the way.

    A batch that cannot be shared evenly is left where it is: TL604 says so (plan/checks/tuning.py).
    """
    return plan.model_copy(update={"steps": [_fitted(step, context) for step in plan.steps]})


def _fitted(step: Step, context: Context) -> Step:
    if not step.schedule:
        return _read(step, context)
    declared = context.recipe.declared[step.name]
    machine = machine_of(declared, context.recipe, context.calibrations)
    work = work_of(step, declared, context)
    if machine is None or work is None:
        what = "GPU" if machine is None else "model"
        return _without(step, f"its {what} is not in the catalogue")
    context.works[step.name] = (work, machine)
    found = fit(work, machine)
    context.found.extend(shortage.said(step, (work, machine, found), context))
    return _with(step, work, machine, found) if found else _without(step, "it cannot run so")


def _without(step: Step, why: str) -> Step:
    reasons = [*step.place.reasons, f"{UNKNOWN}: {why}"]
    return step.model_copy(update={"place": step.place.model_copy(update={"reasons": reasons})})


def _read(step: Step, context: Context) -> Step:
    """A stage that trains nothing; models are made and converted without an estimate."""
    stage, shape = context.recipe.declared.get(step.name), architecture_of(step, context)
    if stage is None or stage.kind != "stage" or shape is None:
        return step
    return reading.fitted(step, stage, shape, context)


def _with(step: Step, work: Work, machine: Machine, found: Fit) -> Step:
    layout = found.layout
    place = step.place.model_copy(
        update={
            "processes": layout.devices,
            "nodes": layout.nodes,
            "threads": found.threads,
            "micro": layout.micro,
            "accumulate": layout.accumulate,
            "checkpointing": layout.checkpointing,
            "loss": layout.loss,
            "sharding": layout.sharding,
            "offload": layout.offload,
            "reasons": reasons(work, machine, found),
        }
    )
    return step.model_copy(update={"place": place, "estimate": found.estimate})
