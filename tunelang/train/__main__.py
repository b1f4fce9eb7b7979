"""`python -m tunelang.train STEP.json --home HOME`: run one step of a plan in this process.

In comes a Step as JSON; out go events, checkpoints and a finished product folder (see job.py).
Exit 0: done. 1: a user's mistake, told by a `failed` event. 130: stopped by a signal.
"""

from __future__ import annotations

import argparse
import gc
import logging
import os
import signal
import sys
import time
from contextlib import suppress
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from types import FrameType
from typing import Any

from tunelang.diagnostic import Diagnostic, error
from tunelang.errors import UserError
from tunelang.plan.ir import Step
from tunelang.run import events
from tunelang.run.parent import die_with_parent
from tunelang.run.store import Store, room
from tunelang.train import checkpoint
from tunelang.train.job import STOPPED, Job

TRAINING_PACKAGES = (
    "torch",
    "transformers",
    "peft",
    "safetensors",
    "datasets",
    "gguf",
    "tokenizers",
)
PATIENCE = 2.0  # seconds in which the first process may say why all end
SHARDED = ("zero3", "fsdp2")
QUANTISED = ("adamw_8bit", "paged_adamw_8bit")


def main() -> int:
    """Read the command line, run the step, return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tunelang.train")
    parser.add_argument("step", type=Path)
    parser.add_argument("--home", type=Path, required=True)
    given = parser.parse_args()
    step = Step.model_validate_json(given.step.read_text("utf-8"))
    job = open_job(step, given.home.absolute())
    if job.world > 1:
        die_with_parent()  # the tie of the launcher to the run holds for one generation only
    try:
        with room(job.home, f"`{step.name}` stopped"):
            run(step, job)
    except UserError as mistake:
        tell(job, mistake.diagnostic)
        return 1
    except KeyboardInterrupt:
        return STOPPED
    return 0


def open_job(step: Step, home: Path) -> Job:
    """The job of a step, its work folder made and its newest whole checkpoint found.

    Of several processes, which a launcher numbers, only the first one looks, speaks and writes.
    """
    store = Store(home)
    work = store.work(step.key)
    work.mkdir(parents=True, exist_ok=True)
    path = work / "events.jsonl"
    rank, world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))

    sharded = step.place.sharding in SHARDED

    def speak(event: dict[str, Any]) -> None:
        if rank == 0 or event["event"] == "failed":
            events.append(path, event)

    job = Job(home, work, store, speak, step.place.device, rank, world, sharded)
    return job if rank else replace(job, resume=checkpoint.latest(job, engine_of(step, world)))


def engine_of(step: Step, world: int) -> str:
    """The engine whose checkpoints the step goes on from."""
    sharding = step.place.sharding
    return "none" if world == 1 and sharding == "ddp" else sharding


def run(step: Step, job: Job) -> None:
    """Import the step's worker and run it, from the first event to the last."""
    started = time.monotonic()
    listen(job)
    if not needs_bitsandbytes(step, job):
        # peft imports bitsandbytes when it finds it: 1.4 s of 3.3 s (measured); None hides it.
        sys.modules.setdefault("bitsandbytes", None)  # type: ignore[arg-type]
    # At import it tells of a kernel it would download; without it, it computes the same.
    logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)
    job.phase("loading libraries")
    gc.disable()  # a third of the import time is collecting what is never garbage (measured)
    worker = load_worker(step.worker)
    from tunelang.train import machine

    gc.freeze()
    gc.enable()

    job = machine.join(step, job)
    machine.prepare(step, job)
    job.emit(machine.start(step, job))
    metrics = worker.run(step, job)
    job.emit(machine.done(metrics, time.monotonic() - started))


def load_worker(name: str) -> Any:
    """The worker's module; a missing library is a user's mistake and says what to install."""
    try:
        return import_module(name)
    except ModuleNotFoundError as missing:
        package = (missing.name or "").partition(".")[0]
        if package not in TRAINING_PACKAGES:
            raise
        raise UserError(not_installed(package)) from missing


def not_installed(package: str) -> Diagnostic:
    """TL715: the training libraries are not there."""
    return error(
        "TL715",
        "training-not-installed",
        f"training needs the package `{package}`, which is not installed here",
        None,
        help="pip install 'tunelang[train]'",
    )


def needs_bitsandbytes(step: Step, job: Job) -> bool:
    """Does anything in this step hold 4-bit weights or 8-bit optimizer states?"""
    if step.fields.get("optimizer") in QUANTISED:
        return True
    if step.weights is not None and step.weights.kind == "qlora":
        return True
    keys = [ref.key for ref in step.inputs.values() if ref.kind == "store"]
    return any(job.store.product(key).get("quant") for key in keys)


def tell(job: Job, found: Diagnostic) -> None:
    """Say why the step ends; on a disk too full for one more event, on stderr only."""
    sys.stderr.write(f"{found.code} {found.name}: {found.message}\n")
    with suppress(OSError, KeyboardInterrupt):  # the launcher ends who waits
        if job.leads or not told_by_first(job):
            job.emit(failed(found))


def told_by_first(job: Job) -> bool:
    """Has the first process met the same mistake? It mostly does, within a moment."""
    time.sleep(PATIENCE)
    seen = events.Tail(job.work / "events.jsonl").read()
    starts = [at for at, event in enumerate(seen) if event["event"] == "start"]
    return any(event["event"] == "failed" for event in seen[starts[-1] if starts else 0 :])


def failed(found: Diagnostic) -> dict[str, Any]:
    """A diagnostic as the event that ends a step."""
    place = found.at.span.source.name if found.at else None
    line = found.at.span.source.position(found.at.span.start)[0] if found.at else None
    return {
        "event": "failed",
        "code": found.code,
        "name": found.name,
        "message": found.message,
        "help": found.help,
        "file": place,
        "line": line,
    }


def listen(job: Job) -> None:
    """On SIGINT and SIGTERM: let a polling loop save first; anything else ends at once."""

    def stop(_signal: int, _frame: FrameType | None) -> None:
        if job.polls_stop.is_set() and not job.stop.is_set():
            job.stop.set()
            return
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    sys.stderr.flush()
    # All is written and synced; tearing down torch's modules one by one takes half a second.
    os._exit(status)
