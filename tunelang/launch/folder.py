"""The launch files of a plan's folder: those of the scheduler it names, else plain scripts."""

from __future__ import annotations

from tunelang import registry
from tunelang.launch import scripts
from tunelang.launch.scheduler import Scheduler
from tunelang.plan.ir import Plan, Submit


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
    """The plan with every step sent to a scheduler, options kept where it is the same; None: run
    here."""

    def sent(own: Submit | None) -> Submit | None:
        return own if own and own.kind == kind else Submit(kind=kind) if kind else None

    steps = [
        step.model_copy(
            update={"place": step.place.model_copy(update={"submit": sent(step.place.submit)})}
        )
        for step in plan.steps
    ]
    return plan.model_copy(update={"steps": steps})
