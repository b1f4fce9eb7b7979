"""What a launcher is: a name, the command line that starts a step, and what it cannot do.

A module of this package that holds a `LAUNCHER` is one; plug-ins add more through the registry.
What gives machines to a step, the scheduler of a cluster, is in `scheduler.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tunelang.catalog.launchers import starter_cannot
from tunelang.launch.machine import Machine
from tunelang.launch.rendezvous import Node
from tunelang.plan.ir import Step

GIB = 2**30
BESIDE = 275 * 2**20  # bytes: the run that leads takes 45 MiB, torchrun 221 (measured, torch 2.13)


@dataclass(frozen=True)
class Job:
    """A step to start: its file `work/KEY/step.json`, the store's home, the worker's module.

    `node` is this machine where several share the step.
    """

    step: Step
    path: Path
    home: Path
    module: str = "tunelang.train"
    node: Node | None = None

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


def each(step: Step) -> int:
    """Processes that one machine runs."""
    return step.place.processes // step.place.nodes


def host_memory(step: Step) -> int:
    """GiB of host memory a machine needs with all that runs on it, 0 where nobody predicted it."""
    if step.estimate is None:
        return 0
    of_cpu = step.estimate.peak_high * each(step) if step.place.device == "cpu" else 0
    known = step.estimate.host + of_cpu
    return math.ceil((known + BESIDE) / GIB) if known else 0


def unable(step: Step, machine: Machine) -> str | None:
    """The reasons that every launcher of ours shares: what it is made for, then missing GPUs."""
    place = step.place
    reason = starter_cannot(
        place.launcher, processes=place.processes, nodes=place.nodes, sharding=place.sharding
    )
    return reason or lacks_gpus(step, machine)


def lacks_gpus(step: Step, machine: Machine) -> str | None:
    """GPUs are asked of each machine that this one has not."""
    place = step.place
    wanted, found = max(place.gpus // place.nodes, 1), len(machine.gpus)
    if place.device != "cuda" or wanted <= found:
        return None
    kind = f" {place.gpu}" if place.gpu else ""
    here = "this machine has none" if not found else f"this machine has {found}"
    return f"it needs {wanted}{kind} GPU{'s' if wanted > 1 else ''} and {here}"
