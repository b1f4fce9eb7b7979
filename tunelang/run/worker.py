"""Starts the worker of a step, follows its events, forwards Ctrl-C, and says how it ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tunelang.run.events import Event, Failed, Tail
from tunelang.run.interrupt import Interrupt

POLL = 0.1  # seconds between looks at the event file
EVENTS = "events.jsonl"
LOG = "stdout.log"


@dataclass(frozen=True)
class Order:
    """What to start: the command, its environment, the folder it works in, the lock it shares.

    On the other machines of a step there is no lock, and another `log`.
    """

    command: list[str]
    environment: Mapping[str, str]
    work: Path
    lock: int | None
    log: str = LOG


@dataclass(frozen=True)
class Ending:
    """How a worker ended. `code` is negative for a signal; `log_start` is where its log begins."""

    code: int
    failed: Failed | None
    interrupted: bool
    log: Path
    log_start: int


def run(order: Order, hear: Callable[[list[Event]], None], interrupt: Interrupt) -> Ending:
    """Start the worker and hand its new events to `hear` until it ends."""
    tail = Tail(order.work / EVENTS)
    tail.read()
    log = order.work / order.log
    log_start = log.stat().st_size if log.exists() else 0
    with log.open("ab") as output:
        process = _start(order, output.fileno())
    failed = None
    try:
        for events in _follow(process, tail, interrupt):
            failed = next((event for event in events if event["event"] == "failed"), failed)
            hear(events)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    interrupted = interrupt.count > 0
    return Ending(process.returncode, failed, interrupted, log, log_start)


def _start(order: Order, output: int) -> subprocess.Popen[bytes]:
    """In a session of its own: a terminal's Ctrl-C reaches it through us, once.

    `tunelang.run.parent` ties its life to ours. The lock stays open in it, see `run.lock`.
    """
    tied = [sys.executable, "-m", "tunelang.run.parent", str(os.getpid()), *order.command]
    return subprocess.Popen(
        tied,
        env=dict(order.environment),
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        pass_fds=() if order.lock is None else (order.lock,),
    )


def _follow(
    process: subprocess.Popen[bytes], tail: Tail, interrupt: Interrupt
) -> Iterator[list[Event]]:
    """Batches of new events until the worker has ended and all of them are read."""
    told = 0
    while process.poll() is None:
        yield tail.read()
        if interrupt.count > told:
            told = interrupt.count
            process.send_signal(signal.SIGINT if told == 1 else signal.SIGKILL)
        time.sleep(POLL)
    yield tail.read()
