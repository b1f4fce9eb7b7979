"""What happened, in one SQLite file per recipe and profile: runs, steps, metrics, events, gates.

Written as things happen, in write-ahead mode: a kill loses nothing that was written and never
damages the file. Metrics have the step they were taken at in their key, so what a worker logs
again after a resume replaces its first telling. It never decides anything: the store does.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from tunelang.plan.ir import Plan, Step
from tunelang.run.events import Event
from tunelang.run.gates import Verdict
from tunelang.run.lock import turn
from tunelang.run.store import StoreError, disk_full

PATIENCE = 30.0  # seconds to wait while another run writes
# What SQLite says when the disk is full: to a table, to the log, to the shared-memory file.
NO_ROOM = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_IOERR_SHMSIZE)
SCHEMA = """
create table if not exists runs (
    run integer primary key, recipe text, profile text, started real, ended real,
    outcome text, machine text);
create table if not exists steps (
    run integer, name text, key text, method text, state text, started real, ended real,
    seconds real, predicted_seconds real, peak_bytes integer, predicted_peak integer,
    primary key (run, name));
create table if not exists metrics (
    key text, phase text, at integer, name text, value real, time real,
    primary key (key, phase, at, name));
create table if not exists events (
    key text, time real, event text, body text, unique (key, body));
create table if not exists gates (
    run integer, step text, measure text, compare text, bound real, measured real,
    passed integer, enforced integer, place text);
"""


class Journal:
    """The open journal of one run. Raises `StoreError` (TL711) when the disk is full."""

    def __init__(self, folder: Path, plan: Plan, machine: Mapping[str, Any]) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / "journal.sqlite"
        self.set_aside: Path | None = None
        with self._writing(), self._turn():
            self.database = self._open()
            started = self.database.execute(
                "insert into runs (recipe, profile, started, machine) values (?, ?, ?, ?)",
                (plan.recipe, plan.profile, time.time(), json.dumps(machine)),
            )
        self.run = started.lastrowid or 0

    def begin(self, step: Step, state: str) -> None:
        """A step is reused, or starts running."""
        estimate = step.estimate
        predicted = (estimate.seconds, estimate.peak) if estimate else (None, None)
        row = (self.run, step.name, step.key, step.method, state, time.time(), *predicted)
        self._execute(
            "insert or replace into steps (run, name, key, method, state, started, "
            "predicted_seconds, predicted_peak) values (?, ?, ?, ?, ?, ?, ?, ?)",
            [row],
        )

    def end(self, step: Step, state: str, seconds: float, peak_bytes: int) -> None:
        row = (state, time.time(), seconds, peak_bytes, self.run, step.name)
        self._execute(
            "update steps set state = ?, ended = ?, seconds = ?, peak_bytes = ? "
            "where run = ? and name = ?",
            [row],
        )

    def tell(self, key: str, events: Iterable[Event]) -> None:
        """Keep events; telling the same ones again changes nothing."""
        told = list(events)
        rows = [row for event in told for row in _metric_rows(key, event)]
        kept = [_event_row(key, event) for event in told if event["event"] != "progress"]
        with self._writing(), self.database:
            self.database.execute("begin")
            self.database.executemany("insert or replace into metrics values (?,?,?,?,?,?)", rows)
            self.database.executemany("insert or ignore into events values (?,?,?,?)", kept)

    def gates(self, step: Step, verdicts: Iterable[Verdict]) -> None:
        rows = [
            (
                *(self.run, step.name, verdict.gate.measure.text, verdict.gate.compare),
                *(verdict.gate.bound, verdict.measured, verdict.passed),
                *(verdict.gate.enforce, verdict.gate.place),
            )
            for verdict in verdicts
        ]
        self._execute("insert into gates values (?,?,?,?,?,?,?,?,?)", rows)

    def close(self, outcome: str) -> None:
        self._execute(
            "update runs set ended = ?, outcome = ? where run = ?",
            [(time.time(), outcome, self.run)],
        )
        with self._turn():
            self.database.close()

    def _turn(self) -> AbstractContextManager[None]:
        """SQLite fails at once, without waiting, when two processes open or close at a time."""
        return turn(self.folder / "journal.lock")

    def _open(self) -> sqlite3.Connection:
        """The database; one that SQLite cannot read is set aside, and a new one started."""
        try:
            return _connect(self.path)
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError:
            self.set_aside = self.path.with_name(f"bad-{time.time_ns()}.sqlite")
            self.path.rename(self.set_aside)
            return _connect(self.path)

    def _execute(self, statement: str, rows: list[tuple[Any, ...]]) -> None:
        with self._writing(), self.database:
            self.database.executemany(statement, rows)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as problem:
            if problem.sqlite_errorcode not in NO_ROOM:
                raise
            raise StoreError(disk_full(self.folder, "the journal cannot be written")) from problem


def _connect(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(path, timeout=PATIENCE, isolation_level=None)
    database.execute("pragma journal_mode = wal")
    database.execute("pragma synchronous = normal")
    database.executescript(SCHEMA)
    return database


def _metric_rows(key: str, event: Event) -> Iterator[tuple[Any, ...]]:
    when = event.get("time", 0.0)
    if event["event"] == "progress":
        phase = "train"
    elif event["event"] == "measure":
        phase = event["when"]
    else:
        return
    for name, value in event["metrics"].items():
        yield (key, phase, event["at"], name, value, when)


def _event_row(key: str, event: Event) -> tuple[Any, ...]:
    body = json.dumps(event, sort_keys=True, ensure_ascii=False)
    return (key, event.get("time", 0.0), event["event"], body)
