"""What each launcher can do: facts that plans are held to, and that runs rely on.

`STARTERS` start the processes of a stage on the machines it was given, `SCHEDULERS` give machines
to it: a job of theirs starts a starter on each.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

ZERO = ("zero1", "zero2", "zero3")


@dataclass(frozen=True)
class Starter:
    """`nodes`: it joins processes of several machines. `shardings`: those it was made for."""

    processes: bool
    nodes: bool
    shardings: tuple[str, ...]


@dataclass(frozen=True)
class Scheduler:
    """`tool` submits. `needs` are options without which a job cannot be written.

    `shared`: its machines see the files of the machine that plans, under the same paths.
    """

    tool: str
    needs: tuple[str, ...]
    shared: bool


STARTERS: Mapping[str, Starter] = {
    "local": Starter(processes=False, nodes=False, shardings=("none",)),
    "torchrun": Starter(processes=True, nodes=True, shardings=("none", "ddp", "fsdp2", *ZERO)),
    # Its own way over several machines is ssh to each (`--hostfile`), which jobs may not do.
    "deepspeed": Starter(processes=True, nodes=False, shardings=ZERO),
}
SCHEDULERS: Mapping[str, Scheduler] = {
    "slurm": Scheduler(tool="sbatch", needs=(), shared=True),
    "kubernetes": Scheduler(tool="kubectl", needs=("image", "storage"), shared=False),
    "skypilot": Scheduler(tool="sky", needs=("bucket",), shared=False),
}


def starter_cannot(name: str, *, processes: int, nodes: int, sharding: str) -> str | None:
    """Why a starter cannot run so many processes on so many machines; None if it can."""
    facts = STARTERS.get(name)
    if facts is None:
        return "no such launcher is installed"
    if processes > 1 and not facts.processes:
        return f"it starts one process, and the stage is planned for {processes}"
    if nodes > 1 and not facts.nodes:
        return "it starts the processes of one machine; `torchrun` joins those of several"
    if sharding not in facts.shardings:
        *most, last = facts.shardings
        made = f"{', '.join(most)} and {last}" if most else last
        return f"it runs {made}, not sharding `{sharding}`"
    return None


def scheduler_cannot(
    name: str, options: Mapping[str, object], *, nodes: int, starter: str, reads: list[str]
) -> str | None:
    """Why a scheduler cannot run a stage; None if it can.

    `reads` are the files of this machine that the stage reads.
    """
    facts = SCHEDULERS.get(name)
    if facts is None:
        return "no such launcher is installed"
    missing = [need for need in facts.needs if not options.get(need)]
    if missing:
        asked = " and ".join(f"`{need}`" for need in missing)
        return f"it needs {asked}: `launcher = {name}({missing[0]} = ...)` in a hardware block"
    if nodes > 1 and starter != "torchrun":
        return f"`{starter}` starts the processes of one machine; `torchrun` joins those of several"
    if nodes > 1 and name == "skypilot":
        return "a bucket shows other machines what one has written too late; it takes one machine"
    if name == "kubernetes" and (elsewhere := [one for one in reads if not on_volume(one)]):
        return f"its pods do not see `{elsewhere[0]}`: lay it on the volume, under {VOLUME}"
    return None


VOLUME = "/tunelang"  # where pods see the volume that they share


def on_volume(path: str) -> bool:
    return path.startswith(f"{VOLUME}/")
