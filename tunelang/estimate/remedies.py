"""What would make a step fit that does not: the nearest change to its recipe, with its figure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from tunelang.estimate.fit import ACCEPT, need, offered, ways
from tunelang.estimate.machine import Machine
from tunelang.estimate.work import Work

RANK = 16  # of the adapters that are proposed: the commonest rank of published recipes


@dataclass(frozen=True)
class Remedy:
    """A field, its new value (a number, or a variant as text), and the peak it leads to."""

    field: str
    value: int | str
    peak: float
    fits: bool


def nearest(work: Work, machine: Machine) -> Remedy:
    """The first change that fits, else the last, which needs least."""
    tried = [_tried(change, machine) for change in _changes(work)]
    return next((each for each in tried if each.fits), tried[-1])


def _tried(change: tuple[str, int | str, Work], machine: Machine) -> Remedy:
    field, value, work = change
    peak = min(need(work, machine, way).peak for way in ways(work, machine))
    return Remedy(field, value, peak, peak <= ACCEPT * offered(machine))


def _changes(work: Work) -> Iterator[tuple[str, int | str, Work]]:
    """In the order of how little they change: results stay, then weights, then what is read."""
    micro = work.micro or 1
    while micro > 1:
        micro //= 2
        yield "micro", micro, replace(work, micro=micro)
    if work.recompute is False:
        yield "checkpointing", "auto", replace(work, recompute=None)
    for kind in {"full": ("lora", "qlora"), "lora": ("qlora",)}.get(work.weights, ()):
        adapter = replace(work, weights=kind, rank=RANK, targets="all_linear")
        yield "weights", f"{kind}(rank = {RANK})", adapter
    half = max(1, work.length // 2)
    yield "length", half, replace(work, length=half, prompt=work.prompt // 2)
