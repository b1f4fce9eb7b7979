"""Plan -> trained objects: each step reused, or run in a worker and published, then its gates.

Everything the user must know comes back in the `Outcome` or goes to the display; whatever
happens, the store holds whole objects only and the same command goes on where this one ended.
"""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tunelang.diagnostic import Diagnostic, has_errors
from tunelang.launch.environment import environment
from tunelang.launch.launcher import Job
from tunelang.launch.machine import Machine, probe
from tunelang.plan.ir import Plan, Step
from tunelang.run import worker
from tunelang.run.audit import audit
from tunelang.run.events import Done, Event, Start, Tail
from tunelang.run.failure import diagnostic
from tunelang.run.gates import findings, judge, stops
from tunelang.run.interrupt import Interrupt, watched
from tunelang.run.journal import Journal
from tunelang.run.lock import Busy, Held
from tunelang.run.outcome import INTERRUPTED, Outcome, Result, State
from tunelang.run.progress import Display
from tunelang.run.refusal import launcher, refusals
from tunelang.run.store import Store, StoreError, room, write_json

DONE = "product.done"
WAIT = 0.5  # seconds between looks at a lock that another run holds


@dataclass(frozen=True)
class Settings:
    """`hub`: downloads are allowed. `profiles`: the recipe's, for advice. `module` runs steps."""

    hub: bool = False
    profiles: tuple[str, ...] = ()
    module: str = "tunelang.train"


@dataclass(frozen=True)
class Run:
    """What the functions of this page share while one plan is executed."""

    plan: Plan
    store: Store
    display: Display
    settings: Settings
    machine: Machine
    journal: Journal
    interrupt: Interrupt
    told: list[Diagnostic] = field(default_factory=list)


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
            told = [*found.warnings, *refusals(steps, machine, chosen.profiles)]
            if has_errors(told):
                return Outcome(1, diagnostics=tuple(told))
            journal = Journal(store.run_folder(run_name(plan)), plan, machine.record())
            run = Run(plan, store, display, chosen, machine, journal, interrupt, told)
            return _execute(run)
    except StoreError as full:
        return Outcome(1, diagnostics=(full.diagnostic,))


def run_name(plan: Plan) -> str:
    """The folder of a plan's journal: the recipe's name, and the profile's if one is chosen."""
    stem = Path(plan.recipe).stem
    return f"{stem}-{plan.profile}" if plan.profile else stem


def _execute(run: Run) -> Outcome:
    if run.journal.set_aside:
        run.display.say(f"the journal could not be read and is kept as {run.journal.set_aside}")
    run.display.start([step.name for step in run.plan.steps])
    results: list[Result] = []
    try:
        for step in run.plan.steps:
            result = _judged(run, _step(run, step))
            results.append(result)
            run.display.end(step.name, result.state, result.seconds)
            if result.state in ("failed", "stopped") or stops(list(result.verdicts)):
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
        return _result(run, step, "reused")
    run.journal.begin(step, "run")
    ending = None if (work / DONE).exists() else _work(run, step, held)
    if (work / DONE).exists():
        _publish(run, step)
        return _result(run, step, "run")
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
    run.display.begin(step.name)
    job = Job(step, work / "step.json", run.store.home, run.settings.module)
    chosen = launcher(step.place.launcher)
    assert chosen is not None  # refusals() has looked
    variables = environment(step, hub=run.settings.hub)
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
    run.store.publish(step.key, product, _manifest(step, events))
    shutil.rmtree(work, ignore_errors=True)


def _manifest(step: Step, events: list[Event]) -> dict[str, Any]:
    """What the manifest says beside the files: provenance, and what making it took."""
    starts: list[Start] = [event for event in events if event["event"] == "start"]
    dones: list[Done] = [event for event in events if event["event"] == "done"]
    return {
        "step": step.name,
        "method": step.method,
        "product": step.product,
        "stack": starts[-1]["stack"] if starts else step.stack,
        "place": step.place.model_dump(mode="json"),
        "seconds": earlier(events) + (dones[-1]["seconds"] if dones else 0.0),
        "peak_bytes": dones[-1]["peak_bytes"] if dones else 0,
    }


def earlier(events: list[Event]) -> float:
    """Seconds of the attempts before the last one: from each start to the last step it told of."""
    spent, began, last = 0.0, 0.0, 0.0
    for event in events:
        when = event.get("time", 0.0)
        if event["event"] == "start":
            spent += last - began
            began = last = when
        elif event["event"] in ("progress", "measure", "checkpoint"):
            last = when
    return spent


def _result(run: Run, step: Step, state: State) -> Result:
    """Of a step whose object exists."""
    manifest = run.store.manifest(step.key)
    path = run.store.object(step.key) / "metrics.json"
    metrics = json.loads(path.read_text("utf-8")) if path.exists() else {}
    return Result(
        step,
        state,
        manifest.get("seconds", 0.0),
        manifest.get("peak_bytes", 0),
        metrics.get("before", {}),
        metrics.get("after", {}),
    )


def _judged(run: Run, result: Result) -> Result:
    """With its gates held against what was measured; also when it is reused."""
    run.journal.end(result.step, result.state, result.seconds, result.peak_bytes)
    if result.state in ("failed", "stopped"):
        return result
    verdicts = judge(result.step, result.after)
    run.journal.gates(result.step, verdicts)
    run.told.extend(findings(result.step, verdicts))
    return replace(result, verdicts=tuple(verdicts))
