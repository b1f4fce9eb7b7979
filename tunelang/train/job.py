"""What a worker holds while a step runs: its folders, the store, and a voice.

Nothing here imports torch, so that a worker can say what is missing before it fails.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import Any, NoReturn

from tunelang.diagnostic import error
from tunelang.errors import UserError
from tunelang.run.store import Store

STOPPED = 130  # exit status after SIGINT or SIGTERM, as shells report it


@dataclass(frozen=True)
class Checkpoint:
    """A complete checkpoint: `at` optimizer steps (ppo: iterations) are done."""

    path: Path
    at: int


@dataclass(frozen=True)
class Job:
    """The surroundings of one step. `work` is its scratch; SIGINT and SIGTERM set `stop`.

    `device` is "cpu" or "cuda"; `resume` is the checkpoint to go on from, or None. `polls_stop`
    is set by a loop that looks at `stop` between its updates; until then a signal ends at once.
    Of the `world` processes that share the step the first one (`rank` 0) leads: it alone speaks
    and writes. `sharded`: no device is to hold all weights.
    """

    home: Path
    work: Path
    store: Store
    emit: Callable[[dict[str, Any]], None]
    device: str = "cpu"
    rank: int = 0
    world: int = 1
    sharded: bool = False
    resume: Checkpoint | None = None
    stop: Event = field(default_factory=Event)
    polls_stop: Event = field(default_factory=Event)

    @property
    def loads_on(self) -> str:
        """The device that weights are read to."""
        return "cpu" if self.sharded else self.device

    @property
    def leads(self) -> bool:
        return self.rank == 0

    @property
    def product(self) -> Path:
        """The folder the product is built in, beside nothing else."""
        return self.work / "product"

    def phase(self, text: str) -> None:
        """Say what is being done now, in a few words."""
        self.emit({"event": "phase", "text": text})

    def note(self, text: str) -> None:
        """Say a fact the user should know: nothing is dropped or changed in silence."""
        self.emit({"event": "note", "text": text})

    def warn(self, text: str) -> None:
        """Say something that went wrong and was mended."""
        self.emit({"event": "warning", "text": text})

    def measure(
        self, when: str, at: int, metrics: Mapping[str, float], on: str = "held-out rows"
    ) -> None:
        """Report metrics and what they are of; `when` is before, during or after."""
        said = {"event": "measure", "when": when, "at": at, "metrics": dict(metrics), "on": on}
        self.emit(said)

    def check(self, name: str, value: float, ok: bool, trouble: tuple[str, str]) -> None:
        """Report a self-check; a failed one ends the step with `trouble` (message, help)."""
        self.emit({"event": "check", "name": name, "value": value, "ok": ok})
        if not ok:
            fail("TL790", "self-check-failed", f"{name}: {trouble[0]}", trouble[1])


def fail(code: str, name: str, message: str, help: str = "") -> NoReturn:
    """End the step with a user's mistake, told as a diagnostic without a place in the recipe."""
    raise UserError(error(code, name, message, None, help=help))
