"""Plan -> trained objects: each step reused, or run in a worker and published, then its gates.

Everything the user must know comes back in the `Outcome` or goes to the display; whatever
happens, the store holds whole objects only and the same command goes on where this one ended.
"""

from __future__ import annotations

import shutil
import time

from tunelang.diagnostic import has_errors
from tunelang.errors import UserError
from tunelang.launch.environment import environment
from tunelang.launch.launcher import Job
from tunelang.launch.machine import Machine, probe
from tunelang.plan.ir import Plan, Step
from tunelang.plan.words import shared
from tunelang.run import nodes, worker
from tunelang.run.audit import audit
from tunelang.run.events import Event, Tail
from tunelang.run.failure import diagnostic
from tunelang.run.gates import stops
from tunelang.run.interrupt import watched
from tunelang.run.journal import Journal
from tunelang.run.lock import Busy, Held
from tunelang.run.outcome import INTERRUPTED, Outcome, Result
from tunelang.run.progress import Display
from tunelang.run.refusal import launcher, refusals
from tunelang.run.results import judged, manifest, result
from tunelang.run.state import Run, Settings, run_name
from tunelang.run.store import Store, room, write_json

DONE = "product.done"
WAIT = 0.5  # seconds between looks at a lock that another run holds


def execute(
    plan: Plan, store: Store, *, display: Display, settings: Settings | None = None
) -> Outcome:
    """Run what is not in the store yet, in order, up to the first failure or closed gate."""
    chosen = settings or Settings()
    machine = probe()
    try:
        with room(store.home, "the run cannot go on"), watched() as interrupt:
            found = audit(plan, store)
            steps = [step for step in plan.steps if step.key in found.missing]
            told = [*found.warnings, *refusals(steps, machine, chosen.profiles, chosen.node)]
            if has_errors(told):
                return Outcome(1, diagnostics=tuple(told))
            folder = store.run_folder(run_name(plan)) / (chosen.only or "")
            journal = Journal(folder, plan, machine.record())
            run = Run(plan, store, display, chosen, machine, journal, interrupt, told)
            return _execute(run)
    except UserError as mistake:
        return Outcome(1, diagnostics=(mistake.diagnostic,))


def _execute(run: Run) -> Outcome:
    if run.journal.set_aside:
        run.display.say(f"the journal could not be read and is kept as {run.journal.set_aside}")
    run.display.start([step.name for step in run.plan.steps])
    results: list[Result] = []
    try:
        for step in run.plan.steps:
            made = judged(run, _step(run, step))
            results.append(made)
            run.display.end(step.name, made.state, made.seconds)
            if made.state in ("failed", "stopped") or stops(list(made.verdicts)):
                break
    finally:
        run.display.stop()
    return _outcome(run, results)


def _outcome(run: Run, results: list[Result]) -> Outcome:
    last = results[-1] if results else None
    stopped = last is not None and last.state == "stopped"
    code = INTERRUPTED if stopped else int(has_errors(run.told))
    run.journal.close({0: "done", 1: "failed", INTERRUPTED: "stopped"}[code])
    at = run.display.where(last.step.name) if last and stopped else ""
    return Outcome(code, tuple(results), tuple(run.told), at, run.journal.path)


def _step(run: Run, step: Step) -> Result:
    """Reuse, or make under the step's lock; another run at the same step is waited for."""
    waiting = False
    while run.interrupt.count == 0:
        try:
            with run.store.lock(step.key) as held:
                return _locked(run, step, held)
        except Busy as busy:
            if not waiting:
                run.display.say(f"waiting for {busy}, which is making `{step.name}`")
            waiting = True
            time.sleep(WAIT)
    return Result(step, "stopped")


def _locked(run: Run, step: Step, held: Held) -> Result:
    work = run.store.work(step.key)
    if run.store.has(step.key):
        run.journal.begin(step, "reused")
        shutil.rmtree(work, ignore_errors=True)
        return result(run, step, "reused")
    run.journal.begin(step, "run")
    ending = None if (work / DONE).exists() else _work(run, step, held)
    if (work / DONE).exists():
        _publish(run, step)
        return result(run, step, "run")
    return _unfinished(run, step, ending)


def _unfinished(run: Run, step: Step, ending: worker.Ending | None) -> Result:
    """The worker left no product: stopped by the user, or failed."""
    stopped = ending is None or ending.interrupted or ending.code == INTERRUPTED
    if ending is not None and not stopped:
        run.told.append(diagnostic(step, ending, _memory(step, run.machine)))
    return Result(step, "stopped" if stopped else "failed")


def _memory(step: Step, machine: Machine) -> int:
    """Bytes that a device of the step has."""
    on_gpu = step.place.device == "cuda" and machine.gpus
    return machine.gpus[0].memory if on_gpu else machine.memory


def _work(run: Run, step: Step, held: Held) -> worker.Ending:
    """Run the worker; what earlier attempts logged is brought into the journal first."""
    work = run.store.work(step.key)
    work.mkdir(parents=True, exist_ok=True)
    write_json(work / "step.json", step.model_dump(mode="json"))
    run.journal.tell(step.key, Tail(work / worker.EVENTS).read())
    run.display.begin(step.name, shared(step))
    node = run.settings.node if step.place.nodes > 1 else None
    if node is not None:
        nodes.gather(node, work, run.interrupt, run.display.say)
    chosen = launcher(step.place.launcher)
    assert chosen is not None  # refusals() has looked
    job = Job(step, work / "step.json", run.store.home, run.settings.module, node)
    variables = environment(step, hub=run.settings.hub, node=node)
    order = worker.Order(chosen.command(job), variables, work, held.handle)

    def hear(events: list[Event]) -> None:
        if events:
            run.journal.tell(step.key, events)
        for event in events:
            run.display.event(step.name, event)

    return worker.run(order, hear, run.interrupt)


def _publish(run: Run, step: Step) -> None:
    """Move the finished product into the store, then clear the work folder."""
    work = run.store.work(step.key)
    events = Tail(work / worker.EVENTS).read()
    run.journal.tell(step.key, events)
    product = work / "product"
    if not (product / "step.json").exists():
        write_json(product / "step.json", step.model_dump(mode="json"))
    run.store.publish(step.key, product, manifest(step, events))
    shutil.rmtree(work, ignore_errors=True)
