"""The launch files of a plan's folder: those of the scheduler it names, else plain scripts."""

from __future__ import annotations

from tunelang import registry
from tunelang.launch import scripts
from tunelang.launch.scheduler import Scheduler, submits
from tunelang.plan.ir import Plan, Step, Submit


def files(plan: Plan) -> dict[str, str]:
    """Relative path -> text; the same plan gives the same bytes. `plan.json` lies beside them.

    A plan whose stages name several schedulers, or one that is not installed, has plain scripts.
    """
    found = scheduler(kind) if (kind := asked(plan)) else None
    return (found.files if found else scripts.files)(plan)


def asked(plan: Plan) -> str | None:
    """The scheduler that the plan's steps name; None where they name none, or several."""
    kinds = {step.place.submit.kind for step in plan.steps if step.place.submit}
    return kinds.pop() if len(kinds) == 1 else None


def scheduler(name: str) -> Scheduler | None:
    """The installed scheduler of that name."""
    return next((one for one in schedulers() if one.name == name), None)


def schedulers() -> tuple[Scheduler, ...]:
    return registry.parts("launch", "SCHEDULER")


def submitted(plan: Plan, kind: str | None) -> Plan:
    """The plan with every step sent to one scheduler, None: to none.

    Options stay where it is the plan's own; see `submits` for steps that have none.
    """

    def sent(step: Step, submit: Submit | None) -> Step:
        return step.model_copy(update={"place": step.place.model_copy(update={"submit": submit})})

    if kind is None:
        return plan.model_copy(update={"steps": [sent(step, None) for step in plan.steps]})
    found = [step.place.submit for step in plan.steps]
    own = [one if one and one.kind == kind else None for one in found]
    kept = own if any(own) else [Submit(kind=kind)] * len(own)
    bare = plan.model_copy(update={"steps": list(map(sent, plan.steps, kept))})
    return plan.model_copy(update={"steps": [sent(*each) for each in submits(bare)]})
