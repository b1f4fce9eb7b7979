"""A plan carried out by a scheduler: jobs handed in, followed, and left to go on after Ctrl-C.

The same command again finds its jobs by name and follows them: a step that is in the store, or
whose job waits or runs, is never handed in a second time.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tunelang.catalog.launchers import SCHEDULERS
from tunelang.diagnostic import has_errors
from tunelang.errors import UserError
from tunelang.launch.machine import probe
from tunelang.launch.scheduler import Order, Scheduler, Status, job_name
from tunelang.plan.ir import Plan, Step
from tunelang.plan.words import shared
from tunelang.run.audit import audit
from tunelang.run.events import Failed, Tail
from tunelang.run.gates import stops
from tunelang.run.interrupt import watched
from tunelang.run.jobs import environment, failure, lay_out, unable
from tunelang.run.journal import Journal
from tunelang.run.outcome import INTERRUPTED, Outcome, Result
from tunelang.run.progress import Display
from tunelang.run.results import judged, result
from tunelang.run.state import Run, Settings, run_name
from tunelang.run.store import Store, room
from tunelang.run.worker import EVENTS

LOOK = 2.0  # seconds between looks: a scheduler is everybody's
TICK = 0.2  # seconds between looks at Ctrl-C
GRACE = 60.0  # seconds until what another machine wrote is seen: NFS caches as long (acdirmax)


@dataclass
class Job:
    """A step that was handed in. `gone` is when it was first seen ended without its object."""

    step: Step
    tail: Tail
    status: Status
    failed: Failed | None = None
    gone: float | None = None


@dataclass(frozen=True)
class Cluster:
    """A run and its jobs by the name of their step; `over` are the steps that have ended."""

    run: Run
    scheduler: Scheduler
    folder: Path
    environment: Mapping[str, str]
    jobs: dict[str, Job] = field(default_factory=dict)
    over: dict[str, Result] = field(default_factory=dict)

    @property
    def live(self) -> list[Job]:
        return [job for name, job in self.jobs.items() if name not in self.over]


def execute(
    plan: Plan,
    store: Store,
    *,
    scheduler: Scheduler,
    display: Display,
    settings: Settings,
    setup: Path | None = None,
) -> Outcome:
    """Hand in what is not in the store, and follow it until all has ended or the user leaves."""
    machine = probe()
    try:
        with room(store.home, "the run cannot go on"), watched() as interrupt:
            found = audit(plan, store)
            steps = [step for step in plan.steps if step.key in found.missing]
            told = [*found.warnings, *unable(plan, steps, scheduler, hub=settings.hub, setup=setup)]
            if has_errors(told):
                return Outcome(1, diagnostics=tuple(told))
            runs = store.run_folder(run_name(plan))
            journal = Journal(runs, plan, machine.record())
            run = Run(plan, store, display, settings, machine, journal, interrupt, told)
            variables = environment(store, hub=settings.hub, setup=setup)
            folder = lay_out(plan, scheduler, runs / "plans")
            return _followed(Cluster(run, scheduler, folder, variables))
    except UserError as mistake:
        return Outcome(1, diagnostics=(mistake.diagnostic,))


def _followed(cluster: Cluster) -> Outcome:
    run = cluster.run
    run.display.start([step.name for step in run.plan.steps])
    try:
        _reuse(cluster)
        _rejoin(cluster)
        _hand_in(cluster)
        while cluster.live and not run.interrupt.count:
            _wait(cluster)
            _look(cluster)
            _hand_in(cluster)
    finally:
        run.display.stop()
    return _outcome(cluster)


def _outcome(cluster: Cluster) -> Outcome:
    run, live = cluster.run, cluster.live
    code = INTERRUPTED if live else int(has_errors(run.told))
    run.journal.close({0: "done", 1: "failed", INTERRUPTED: "stopped"}[code])
    results = tuple(cluster.over[step.name] for step in run.plan.steps if step.name in cluster.over)
    left = _leaving(cluster) if live else ""
    return Outcome(code, results, tuple(run.told), "", run.journal.path, left)


def _leaving(cluster: Cluster) -> str:
    """What becomes of jobs that the user does not follow any more."""
    jobs = [(job.step, job.status) for job in cluster.live]
    ids = ", ".join(status.id for _, status in jobs)
    end = shlex.join(cluster.scheduler.cancel(jobs))
    word = "job" if len(jobs) == 1 else "jobs"
    rest = "" if cluster.scheduler.waits else " (and hands in the stages after them)"
    return f"{word} {ids} go on: the same command follows them{rest}, `{end}` ends them"


def _reuse(cluster: Cluster) -> None:
    for step in cluster.run.plan.steps:
        if cluster.run.store.has(step.key):
            cluster.run.journal.begin(step, "reused")
            _end(cluster, judged(cluster.run, result(cluster.run, step, "reused")))


def _rejoin(cluster: Cluster) -> None:
    """Take up the jobs of an earlier command that wait or run, or ended well out of our sight."""
    steps = [step for step in cluster.run.plan.steps if step.name not in cluster.over]
    known = cluster.scheduler.states(steps) if steps else {}
    for step in steps:
        status = known.get(job_name(step))
        if status is None or status.word == "failed":
            continue
        made = not _shared(cluster) or cluster.run.store.has(step.key)  # since we looked, perhaps
        if status.word != "ended" or made:
            _begin(cluster, step, status, earlier=True)


def _hand_in(cluster: Cluster) -> None:
    """Submit each step whose needs are met, or are jobs that the scheduler makes it wait for."""
    for number, step in enumerate(cluster.run.plan.steps, 1):
        if step.name in cluster.over or step.name in cluster.jobs or not _ready(cluster, step):
            continue
        after = [cluster.jobs[name].status.id for name in step.after if name not in cluster.over]
        file = cluster.scheduler.file(number, step)
        order = Order(step, cluster.folder, file, after, cluster.environment)
        waiting = Status(cluster.scheduler.submit(order), "waiting", "handed in")
        _begin(cluster, step, waiting, earlier=False)


def _ready(cluster: Cluster, step: Step) -> bool:
    for name in step.after:
        if name in cluster.over:
            need = cluster.over[name]
            if need.state == "failed" or stops(list(need.verdicts)):
                return False
        elif not (cluster.scheduler.waits and name in cluster.jobs):
            return False
    return True


def _begin(cluster: Cluster, step: Step, status: Status, *, earlier: bool) -> None:
    """Follow a job; what an attempt before a new one told is not told again."""
    run = cluster.run
    events = run.store.work(step.key) / EVENTS
    told = events.stat().st_size if events.exists() and not earlier else 0
    cluster.jobs[step.name] = Job(step, Tail(events, told), status)
    run.journal.begin(step, "run")
    _note(cluster, step, f"job {status.id}, {status.text}")
    if status.word == "running":
        run.display.begin(step.name, shared(step))


def _note(cluster: Cluster, step: Step, text: str) -> None:
    cluster.run.display.event(step.name, {"event": "note", "text": text})


def _wait(cluster: Cluster) -> None:
    end = time.monotonic() + LOOK
    while time.monotonic() < end and not cluster.run.interrupt.count:
        time.sleep(TICK)


def _look(cluster: Cluster) -> None:
    """What has become of every job since the last look."""
    known = cluster.scheduler.states([job.step for job in cluster.live])
    for job in cluster.live:
        if job.step.name not in cluster.jobs:  # behind one that has failed in this look
            continue
        _tell(cluster, job, known.get(job_name(job.step)))
        _hear(cluster, job)
        _settle(cluster, job, known.get(job_name(job.step)))


def _hear(cluster: Cluster, job: Job) -> None:
    """The events of the worker, where this machine sees them."""
    events = job.tail.read()
    cluster.run.journal.tell(job.step.key, events)
    for event in events:
        job.failed = event if event["event"] == "failed" else None
        cluster.run.display.event(job.step.name, event)


def _tell(cluster: Cluster, job: Job, status: Status | None) -> None:
    """A state that is new: waiting, running, waiting again after a requeue."""
    if status is None:
        return
    if status.text != job.status.text and status.word in ("waiting", "running"):
        _note(cluster, job.step, f"job {status.id} is {status.text}")
    if status.word == "running" != job.status.word:
        cluster.run.display.begin(job.step.name, shared(job.step))
    job.status = status


def _settle(cluster: Cluster, job: Job, status: Status | None) -> None:
    """The store says what is done; a job that ended without an object has failed."""
    run, step = cluster.run, job.step
    if run.store.has(step.key):
        _end(cluster, judged(run, result(run, step, "run")))
        return
    if status is not None and status.word == "ended" and not _shared(cluster):
        _end(cluster, judged(run, Result(step, "run")))
        return
    if status is not None and status.word in ("waiting", "running"):
        job.gone = None
        return
    job.gone = job.gone or time.monotonic()
    if (status and status.word == "failed") or time.monotonic() - job.gone > GRACE:
        run.told.append(failure(step, status, job.failed, run.store, cluster.folder))
        _end(cluster, judged(run, Result(step, "failed")))


def _end(cluster: Cluster, made: Result) -> None:
    """Also of steps that never can start any more, since they need one that failed."""
    cluster.over[made.step.name] = made
    cluster.run.display.end(made.step.name, made.state, made.seconds)
    if made.state == "failed" or stops(list(made.verdicts)):
        for name in _behind(cluster.run.plan, made.step.name):
            cluster.jobs.pop(name, None)


def _behind(plan: Plan, name: str) -> set[str]:
    """The steps that need a step, directly or not."""
    found = {name}
    for step in plan.steps:
        if found & set(step.after):
            found.add(step.name)
    return found - {name}


def _shared(cluster: Cluster) -> bool:
    """Whether this machine sees the store that the jobs publish into."""
    return SCHEDULERS[cluster.scheduler.name].shared
