"""What a worker says while it works: one JSON object a line in `work/KEY/events.jsonl`.

Workers append, the parent follows. A line cut in half by a kill is tolerated on both sides: the
writer starts a fresh line after it, the reader counts it as broken and goes on.
"""

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NotRequired, TypedDict, get_args

# No `from __future__ import annotations` here: `REQUIRED` reads the annotations as objects.
Metrics = dict[str, float]


class Start(TypedDict):
    """The worker is up; `resumed_at` is 0 or the step of the checkpoint it goes on from."""

    event: Literal["start"]
    time: NotRequired[float]
    step: str
    resumed_at: int
    threads: int
    stack: dict[str, str]
    device: str


class Phase(TypedDict):
    """What it is doing now, in a few words."""

    event: Literal["phase"]
    time: NotRequired[float]
    text: str


class Progress(TypedDict):
    """`at` of `of` optimizer steps are done; metrics of the training batch."""

    event: Literal["progress"]
    time: NotRequired[float]
    at: int
    of: int
    metrics: Metrics


class Measured(TypedDict):
    """Metrics, and the rows they are taken on."""

    event: Literal["measure"]
    time: NotRequired[float]
    when: Literal["before", "during", "after"]
    at: int
    metrics: Metrics
    on: NotRequired[str]


class Check(TypedDict):
    """A self-check; one that is not `ok` is followed by `failed`."""

    event: Literal["check"]
    time: NotRequired[float]
    name: str
    value: float
    ok: bool


class Sample(TypedDict):
    prompt: str
    before: str
    after: str


class Samples(TypedDict):
    event: Literal["samples"]
    time: NotRequired[float]
    samples: list[Sample]


class Note(TypedDict):
    """Something the user should know: nothing is dropped or changed in silence."""

    event: Literal["note", "warning"]
    time: NotRequired[float]
    text: str


class Checkpoint(TypedDict):
    event: Literal["checkpoint"]
    time: NotRequired[float]
    at: int


class Failed(TypedDict):
    """The step ends by a user's mistake; the fields make a Diagnostic."""

    event: Literal["failed"]
    time: NotRequired[float]
    code: str
    name: str
    message: str
    help: NotRequired[str]
    file: NotRequired[str | None]
    line: NotRequired[int | None]


class Done(TypedDict):
    """The product is complete; `metrics` by "before" and "after"."""

    event: Literal["done"]
    time: NotRequired[float]
    metrics: dict[str, Metrics]
    peak_bytes: int
    seconds: float


Event = Start | Phase | Progress | Measured | Check | Samples | Note | Checkpoint | Failed | Done
REQUIRED: dict[str, frozenset[str]] = {
    name: frozenset(shape.__required_keys__)
    for shape in get_args(Event)
    for name in get_args(shape.__annotations__["event"])
}


def append(path: Path, event: Mapping[str, Any]) -> None:
    """Add one event as one line, with the time if it has none.

    Raises ValueError for an event of unknown name or with a field missing: our mistake.
    """
    fault = wrong(event)
    if fault:
        raise ValueError(fault)
    line = json.dumps({"time": time.time(), **event}, ensure_ascii=False)
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
    try:
        size = os.fstat(handle).st_size
        cut = size > 0 and os.pread(handle, 1, size - 1) != b"\n"
        _write(handle, (b"\n" if cut else b"") + f"{line}\n".encode())
    finally:
        os.close(handle)


def wrong(event: Mapping[str, Any]) -> str:
    """Why a mapping is no event, or the empty string."""
    name = event.get("event")
    if name not in REQUIRED:
        return f"no event is called {name!r}; there are {', '.join(sorted(REQUIRED))}"
    missing = sorted(REQUIRED[name] - event.keys())
    return f"event `{name}` lacks {', '.join(missing)}" if missing else ""


class Tail:
    """Follows an event file: each `read` gives the events completed since the last one.

    `offset` is how far it has read, `broken` how many lines were not events (cut by a kill).
    """

    def __init__(self, path: Path, offset: int = 0) -> None:
        self.path = path
        self.offset = offset
        self.broken = 0

    def read(self) -> list[Event]:
        """New events, in order; a last line without its line end waits for the next read."""
        if not self.path.exists():
            return []
        with self.path.open("rb") as file:
            file.seek(self.offset)
            whole, end, _rest = file.read().rpartition(b"\n")
        self.offset += len(whole) + len(end)
        parsed = [_parse(line) for line in whole.splitlines() if line.strip()]
        self.broken += parsed.count(None)
        return [event for event in parsed if event is not None]


def _parse(line: bytes) -> Event | None:
    try:
        event: Event = json.loads(line)
    except ValueError:
        return None
    if not isinstance(event, dict) or wrong(event):
        return None
    return event


def _write(handle: int, content: bytes) -> None:
    """All of it: `os.write` may write less, and raises when the disk is full."""
    while content:
        content = content[os.write(handle, content) :]
