"""One run at a time works on a step: an flock on `home/locks/KEY`, with a note of who holds it.

The lock is an open file that the worker inherits, so it stays held while an orphaned worker is
still dying and no second worker can start beside it. (Why not filelock: it cannot hand the open
file on.) The kernel lets go when the last holder ends, however it ends.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Held:
    """A lock that is ours: `handle` is the open file to hand to the worker."""

    handle: int


class Busy(Exception):
    """Another process holds the lock; the text says which."""


@contextmanager
def hold(path: Path) -> Iterator[Held]:
    """Hold the lock for the block, or raise `Busy` at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        _take(handle)
        _sign(handle)
        yield Held(handle)
    finally:
        os.close(handle)


@contextmanager
def turn(path: Path) -> Iterator[None]:
    """Wait for our turn at something that takes no time, and hold it for the block."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def holder(text: str) -> str:
    """The note in a lock file, in words; a note that cannot be read names nobody."""
    try:
        note = json.loads(text)
        since = time.strftime("%H:%M:%S", time.localtime(note["since"]))
        return f"process {note['process']} on {note['machine']} since {since}"
    except (ValueError, KeyError, TypeError):
        return "another process"


def _take(handle: int) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as busy:
        raise Busy(holder(os.pread(handle, 1000, 0).decode("utf-8", "replace"))) from busy


def _sign(handle: int) -> None:
    note = {"process": os.getpid(), "machine": socket.gethostname(), "since": int(time.time())}
    os.ftruncate(handle, 0)
    os.pwrite(handle, json.dumps(note).encode("utf-8"), 0)
