"""What a scheduler is: it gives machines to the steps of a plan, each a job of its own.

A job carries out one step of a written plan: `tunelang run plan.json --only STAGE` on each of its
machines. The first of them takes the step's lock, publishes into the store that all share, and
judges the gates; jobs that need the step start when its job has succeeded. A module of this package
that holds a `SCHEDULER` is one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tunelang.errors import UserError
from tunelang.plan.ir import Plan, Step, Submit

RETRY = 75  # exit code of a job that another attempt may finish: EX_TEMPFAIL of sysexits.h
ATTEMPTS = 3  # that a scheduler starts anew after a crash, of a machine or of a worker
Word = Literal["waiting", "running", "ended", "failed"]


@dataclass(frozen=True)
class Status:
    """A job as its scheduler tells of it: `text` in the scheduler's own words."""

    id: str
    word: Word
    text: str


@dataclass(frozen=True)
class Order:
    """One job to submit: its file in the plan's `folder`, and the ids of the jobs it waits for."""

    step: Step
    folder: Path
    file: str
    after: Sequence[str]
    environment: Mapping[str, str]


@dataclass(frozen=True)
class Scheduler:
    """`files` are those of a plan's folder by name: the jobs, and `run.sh`, which submits them.

    `submit` gives the job's id, `states` those known by the name of the job, `cancel` the command
    that ends jobs. `waits` says that jobs can be submitted before those they need have ended. All
    raise `Refused`, and `UserError` where the scheduler does not answer.
    """

    name: str
    waits: bool
    files: Callable[[Plan], dict[str, str]]
    file: Callable[[int, Step], str]
    submit: Callable[[Order], str]
    states: Callable[[Sequence[Step]], dict[str, Status]]
    cancel: Callable[[Sequence[tuple[Step, Status]]], list[str]]


class Refused(UserError):
    """The scheduler did not take a job."""


def job_name(step: Step) -> str:
    """The name by which a step's job is found again: submitting twice is never needed.

    Lower case, digits and dashes, at most 40 characters, as Kubernetes has it for jobs of jobs.
    """
    plain = re.sub(r"[^a-z0-9]+", "-", step.name.lower()).strip("-")
    return f"tunelang-{plain[:22].rstrip('-')}-{step.key[:8]}"


def numbered(number: int, step: Step, ending: str) -> str:
    """The file of a step's job; `number` counts the plan's steps from one."""
    return f"launch/{number:02}-{step.name}.{ending}"


def submits(plan: Plan) -> list[tuple[Step, Submit]]:
    """Every step with where it is submitted: one that names no machine goes with the next that
    does, else with the one before."""
    asked = [step.place.submit for step in plan.steps]
    known = [one for one in asked if one is not None]
    chosen: list[tuple[Step, Submit]] = []
    for step, own in zip(plan.steps, asked, strict=True):
        later = asked[len(chosen) :]
        found = own or next((one for one in later if one is not None), None) or known[-1]
        chosen.append((step, found))
    return chosen
