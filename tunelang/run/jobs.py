"""The jobs of a plan: what is known to fail before, the folder they start in, how one failed."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tunelang.catalog.launchers import SCHEDULERS, scheduler_cannot
from tunelang.diagnostic import Diagnostic, error
from tunelang.launch.environment import asks_hub
from tunelang.launch.scheduler import Scheduler, Status, job_name, submits
from tunelang.plan.ir import Plan, Step
from tunelang.plan.reads import reads
from tunelang.run.events import Failed
from tunelang.run.failure import diagnostic, last_lines
from tunelang.run.refusal import later, together
from tunelang.run.store import Store, write_atomic
from tunelang.run.worker import LOG, Ending
from tunelang.run.written import PLAN

OFFLINE = "HF_HUB_OFFLINE"


def unable(
    plan: Plan, steps: Sequence[Step], scheduler: Scheduler, *, hub: bool, setup: Path | None
) -> Iterator[Diagnostic]:
    """Why steps cannot be handed in here: no tool, options missing, what jobs do not have."""
    if not steps:
        return
    facts = SCHEDULERS[scheduler.name]
    if shutil.which(facts.tool) is None:
        message = f"`{facts.tool}` is not on this machine; it hands jobs to {scheduler.name}"
        help = "run this where it is, or write the jobs with `tunelang plan RECIPE -o DIR`"
        yield error("TL714", "backend-cannot", message, None, help=help)
    if setup is not None and not facts.shared:
        message = f"{scheduler.name} does not see {setup}"
        help = "what machines need goes into the image, or into the scheduler's own settings"
        yield error("TL714", "backend-cannot", message, None, help=help)
    options = {step.name: submit.options for step, submit in submits(plan)}
    reasons = [(step, _reason(step, scheduler, options[step.name], hub)) for step in steps]
    for stages, why in together(reasons):
        message = f"{stages} cannot run with `{scheduler.name}`: {why}"
        yield error("TL714", "backend-cannot", message, None)
    yield from (found for step in steps if (found := later(step)))


def _reason(
    step: Step, scheduler: Scheduler, options: Mapping[str, object], hub: bool
) -> str | None:
    if not SCHEDULERS[scheduler.name].shared and asks_hub(step) and not hub:
        return "it downloads from the hub, which `--yes` allows"
    place = step.place
    return scheduler_cannot(
        scheduler.name,
        options,
        nodes=place.nodes,
        starter=place.launcher,
        reads=reads(step),
    )


def lay_out(plan: Plan, scheduler: Scheduler, folder: Path) -> Path:
    """Write the plan and its jobs into a folder that is named by the plan's content."""
    text = plan.model_dump_json(indent=2) + "\n"
    target = folder / hashlib.sha256(text.encode()).hexdigest()[:12]
    for name, content in {PLAN: text, **scheduler.files(plan)}.items():
        path = target / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_bytes() != content.encode():
            write_atomic(path, content.encode())
    return target


def environment(store: Store, *, hub: bool, setup: Path | None) -> dict[str, str]:
    """What submitting passes on: the store, this Python, the user's own preparation."""
    ours = {"TUNELANG_HOME": str(store.home), "TUNELANG_PYTHON": sys.executable}
    if setup is not None:
        ours["TUNELANG_SETUP"] = str(setup.absolute())
    if not hub:
        ours[OFFLINE] = "1"
    return {**os.environ, **ours}


def failure(
    step: Step, status: Status | None, failed: Failed | None, store: Store, folder: Path
) -> Diagnostic:
    """A user's mistake as the worker told it, else the end of the worker's log, or of the job's."""
    work = store.work(step.key) / LOG
    if failed is not None:
        return diagnostic(step, Ending(1, failed, False, work, 0), 0)
    log = folder / "logs" / f"{job_name(step)}.log"
    lines = last_lines(Ending(1, None, False, work if work.exists() else log, 0))
    said = "".join(f"\n  | {line}" for line in lines)
    named = f"job {status.id} of stage `{step.name}`" if status else f"the job of `{step.name}`"
    how = f"ended: {status.text}" if status else "is not known any more, and left no product"
    message = f"{named} {how}" + (f"; its last lines were{said}" if said else "")
    help = f"the same command tries again from the last checkpoint; the job's log is {log}"
    if status is not None and status.word == "ended":
        message = f"{named} ended well, and what it made is not in {store.home}"
        help = f"TUNELANG_HOME has to be a folder that all machines share; the job's log is {log}"
    return error("TL729", "job-failed", message, None, help=help)
