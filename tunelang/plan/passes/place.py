"""The place pass: on which devices each stage runs, and what starts its processes there."""

from __future__ import annotations

from tunelang.estimate.machine import Machine
from tunelang.plan.ir import Place, Plan, Step
from tunelang.plan.machines import Starter, hardware_of, machine_of, starter_of, submit_of
from tunelang.plan.passes.context import Context


def place(plan: Plan, context: Context) -> Plan:
    """Devices, launcher and scheduler of every stage; models are made and converted on one CPU
    thread, to the same bits anywhere."""
    return plan.model_copy(update={"steps": [_placed(step, context) for step in plan.steps]})


def _placed(step: Step, context: Context) -> Step:
    stage = context.recipe.declared.get(step.name)
    machine = machine_of(stage, context.recipe) if stage and stage.kind == "stage" else None
    if stage is None or machine is None or step.estimate is None:
        return step
    hardware = hardware_of(stage, context.recipe)
    starter = starter_of(hardware)
    update = {
        **on(machine, step.place.processes),
        "launcher": _launcher(step.place, starter),
        "submit": submit_of(hardware),
        "reasons": [*step.place.reasons, *_unused(step.place, starter)],
    }
    return step.model_copy(update={"place": step.place.model_copy(update=update)})


def on(machine: Machine, devices: int) -> dict[str, object]:
    """The device that so many processes of a step compute on."""
    gpu = machine.gpu.name if machine.gpu else None
    return {
        "device": "cuda" if machine.kind == "gpu" else "cpu",
        "gpu": gpu,
        "gpus": devices if gpu else 0,
    }


def _launcher(place: Place, starter: Starter | None) -> Starter:
    """One process is started as it is; several, or one that offloads, have to find each other."""
    return "local" if _plain(place) else starter or "torchrun"


def _plain(place: Place) -> bool:
    return place.processes == 1 and place.sharding == "none"


def _unused(place: Place, starter: Starter | None) -> list[str]:
    """A launcher that the recipe names and one process has no use for."""
    if starter in (None, "local") or not _plain(place):
        return []
    return [f"started as it is: one process needs no `{starter}`"]
