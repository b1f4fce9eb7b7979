"""What would make a step fit that does not: the smallest changes, each with its figure."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import ceil

from tunelang.catalog import gpus
from tunelang.estimate import able
from tunelang.estimate.layout import Layout
from tunelang.estimate.machine import Machine
from tunelang.estimate.needs import HOST_SHARE, need
from tunelang.estimate.ways import layouts
from tunelang.estimate.work import Work

RANK = 16  # of the adapters that are proposed: the commonest rank of published recipes
LENGTHS = 64  # tokens of which a proposed length is a multiple
SHORTEST = 256  # tokens below which cutting rows is no advice
COUNTS = (2, 4, 8, 16, 32, 64)
HARDWARE = ("host_memory", "count", "gpu")
BESIDE = 64 * 10**9  # bytes of which a proposed host memory is a multiple, as modules are sold


@dataclass(frozen=True)
class Remedy:
    """A field of the stage or of its hardware, its new value as the recipe writes it, less the
    noun, and the peak it leads to; `also` goes with it, and `how` is the way to share devices."""

    field: str
    value: int | str
    peak: float
    fits: bool
    also: str = ""
    how: str = ""

    @property
    def hardware(self) -> bool:
        return self.field in HARDWARE


@dataclass(frozen=True)
class Change:
    """What a remedy makes of the step or of its machine."""

    field: str
    value: int | str
    work: Work
    machine: Machine
    also: str = ""


def remedies(work: Work, machine: Machine) -> list[Remedy]:
    """Those that fit, by how little they change; where none does, the one that needs least."""
    tried = [one for one in (_tried(change) for change in _changes(work, machine)) if one]
    fitting = [one for one in tried if one.fits]
    return fitting or sorted(tried, key=lambda one: one.peak)[:1]


def nearest(work: Work, machine: Machine) -> Remedy | None:
    """The first change that fits, else the one that needs least."""
    return next(iter(remedies(work, machine)), None)


def _changes(work: Work, machine: Machine) -> Iterator[Change]:
    """In the order of how little they change: where it runs, what trains, what is read."""
    if work.micro and work.micro > 1:
        yield from _smaller(work, machine)
    if work.recompute is False:
        yield Change("checkpointing", "auto", replace(work, recompute=None), machine)
    if work.sharding:
        yield Change("parallel.sharding", "auto", replace(work, sharding=None), machine)
    yield from _shorter(work, machine)
    yield from _lighter(work, machine)
    yield from _beside(work, machine)
    yield from _more(work, machine)
    yield from _larger(work, machine)


def _smaller(work: Work, machine: Machine) -> Iterator[Change]:
    """The largest micro-batch that divides and fits, else one row; and with activations computed
    twice, where the recipe forbids that."""
    free = replace(work, micro=None)
    sizes = sorted({each.micro for each in layouts(free, machine)} - {work.micro}, reverse=True)
    changes = [replace(work, micro=size) for size in sizes if size < (work.micro or 1)]
    fitting = (one for one in changes if _fits(one, machine))
    found = next(fitting, changes[-1] if changes else None)
    if found:
        yield Change("micro", found.micro or 1, found, machine)
    if found and work.recompute is False and not _fits(found, machine):
        both = replace(found, recompute=None)
        yield Change("micro", found.micro or 1, both, machine, "checkpointing = auto")


def _shorter(work: Work, machine: Machine) -> Iterator[Change]:
    """The longest length that fits, by halving what lies between."""
    low, high = SHORTEST // LENGTHS, (work.length - 1) // LENGTHS
    if high < low or not _fits(_cut(work, low * LENGTHS), machine):
        return
    while low < high:
        middle = (low + high + 1) // 2
        if _fits(_cut(work, middle * LENGTHS), machine):
            low = middle
        else:
            high = middle - 1
    yield Change("length", low * LENGTHS, _cut(work, low * LENGTHS), machine)


def _lighter(work: Work, machine: Machine) -> Iterator[Change]:
    """Adapters, over 4-bit weights where those of the precision are too many."""
    for kind in {"full": ("lora", "qlora"), "lora": ("qlora",)}.get(work.weights, ()):
        changed = _adapter(work, kind)
        if kind == "qlora" or _fits(changed, machine):
            yield Change("weights", f"{kind}(rank = {RANK})", changed, machine)
            return


def _cut(work: Work, length: int) -> Work:
    shorter = replace(work, length=length, mean_length=min(work.mean_length, length))
    return replace(shorter, prompt=min(work.prompt, length))


def _adapter(work: Work, kind: str) -> Work:
    """Adapters on every linear layer; a policy's other roles become adapters on its base."""
    changed = replace(work, weights=kind, kind=kind, rank=RANK, targets="all_linear", dora=False)
    if work.reply:
        judge = "adapter" if work.judge == "own" else work.judge
        changed = replace(changed, reference="adapter_off", judge=judge)
    return changed


def _beside(work: Work, machine: Machine) -> Iterator[Change]:
    """The least memory beside the GPUs in which the rest can wait; where nobody said how much."""
    if machine.gpu is None or machine.host is not None:
        return
    free = replace(machine, host=sys.maxsize)
    found = [needs for one in layouts(work, free) if (needs := need(work, free, one)).fits == "yes"]
    if found:
        size = ceil(min(one.host for one in found) / HOST_SHARE / BESIDE) * BESIDE
        yield Change("host_memory", f"{size // 10**9}GB", work, replace(machine, host=size))


def _more(work: Work, machine: Machine) -> Iterator[Change]:
    """The fewest devices on which it fits, of those that can share the batch."""
    if not able.shardings(work.method, work.kind or work.weights) or machine.kind == "cpu":
        return
    for count in COUNTS:
        more = replace(machine, count=count, nodes=1)
        if count > machine.devices and work.batch % count == 0 and _fits(work, more):
            yield Change("count", count, work, more)
            return


def _larger(work: Work, machine: Machine) -> Iterator[Change]:
    """The smallest GPU of the same maker on which it fits."""
    if machine.gpu is None:
        return
    every = (gpu for gpu in gpus.every() if gpu.vendor == machine.gpu.vendor)
    for gpu in sorted(every, key=lambda one: (one.usable, one.name)):
        able_to = gpu.bf16 or work.precision == "fp32"
        other = replace(machine, gpu=gpu, memory=gpu.memory, usable=gpu.usable)
        if gpu.usable > machine.usable and able_to and _fits(work, other):
            yield Change("gpu", gpu.name, work, other)
            return


def _fits(work: Work, machine: Machine) -> bool:
    """Memory grows with the rows at once, so that the fewest of each way tell."""
    fewest: dict[tuple[object, ...], Layout] = {}
    for one in layouts(work, machine):  # the most first
        fewest[one.sharding, one.offload, one.checkpointing, one.loss] = one
    return any(need(work, machine, one).fits == "yes" for one in fewest.values())


def _tried(change: Change) -> Remedy | None:
    """The simplest layout that fits after the change, else the smallest."""
    work, machine = change.work, change.machine
    found = [(one, need(work, machine, one)) for one in layouts(work, machine)]
    if not found:
        return None
    fitting = (pair for pair in found if pair[1].fits == "yes")
    layout, needs = next(fitting, min(found, key=lambda pair: pair[1].peak))
    how = layout.sharding if layout.sharding != "none" else ""
    fits = needs.fits == "yes"
    return Remedy(change.field, change.value, needs.peak, fits, change.also, how)
