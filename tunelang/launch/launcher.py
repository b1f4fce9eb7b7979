"""What a launcher is: a name, the command line that starts a step, and what it cannot do.

A module of this package that holds a `LAUNCHER` is one; plug-ins add more through the registry.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tunelang.launch.machine import Machine
from tunelang.plan.ir import Step


@dataclass(frozen=True)
class Job:
    """A step to start: its file `work/KEY/step.json`, the store's home, the worker's module."""

    step: Step
    path: Path
    home: Path
    module: str = "tunelang.train"

    @property
    def worker(self) -> list[str]:
        """What every launcher runs, after its own options and `-m`."""
        return [self.module, str(self.path), "--home", str(self.home)]


@dataclass(frozen=True)
class Launcher:
    """`command` gives the whole command line; `cannot` why not here, None if it can."""

    name: str
    command: Callable[[Job], list[str]]
    cannot: Callable[[Step, Machine], str | None]


def lacks_gpus(step: Step, machine: Machine) -> str | None:
    """The reason every launcher shares: GPUs are asked for that this machine has not."""
    wanted, found = max(step.place.gpus, 1), len(machine.gpus)
    if step.place.device != "cuda" or wanted <= found:
        return None
    kind = f" {step.place.gpu}" if step.place.gpu else ""
    here = "this machine has none" if not found else f"this machine has {found}"
    return f"it needs {wanted}{kind} GPU{'s' if wanted > 1 else ''} and {here}"
