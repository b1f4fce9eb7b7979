"""Why a step is laid out as it is: the choices that matter, each with the figures behind it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from tunelang.estimate import able
from tunelang.estimate.fit import Fit, Tried, best, part_of, tried
from tunelang.estimate.layout import Layout
from tunelang.estimate.machine import Machine
from tunelang.estimate.needs import need, offered
from tunelang.estimate.ways import share_of
from tunelang.estimate.work import Work

GIB = 2**30
NOTABLE = 0.02  # of a device's memory: what is less is not worth a line


def reasons(work: Work, machine: Machine, found: Fit) -> list[str]:
    """One line a choice, in the order in which they were made."""
    part = part_of(work, machine)
    lines = [
        _fixed(work),
        *_devices(work, machine, found.layout),
        *_sharding(work, machine, found),
        *_recomputing(work, part, found),
        *_loss(work, part, found.layout),
        *_micro(work, machine, found.layout),
    ]
    return [line for line in lines if line]


def _fixed(work: Work) -> str:
    """What the recipe says is kept."""
    masters = " over fp32 masters" if work.weights == "full" and _mixed(work) else ""
    kept = f"{work.kind or work.weights} weights, {work.precision}{masters}, {work.optimizer}"
    return f"{kept}, {work.batch} rows an update: as the recipe says"


def _mixed(work: Work) -> bool:
    return work.precision != "fp32" and work.masters


def _devices(work: Work, machine: Machine, layout: Layout) -> Iterator[str]:
    if layout.devices < machine.devices:
        why = able.alone(work.method, work.kind or work.weights)
        yield f"1 of {machine.devices} devices: {why}"


def _sharding(work: Work, machine: Machine, found: Fit) -> Iterator[str]:
    layout = found.layout
    if layout.sharding == "none":
        return
    if work.sharding:
        yield f"{_way(layout)}: the recipe says so"
        return
    simpler = _best_of_simpler(work, machine, layout)
    if simpler is None:
        yield f"{_way(layout)}: every device holds all that it needs"
    elif simpler.need.fits == "no":
        needs = _of(simpler.need.peak, machine)
        yield f"{_way(layout)}: the simplest that fits; {_way(simpler.layout)} needs {needs}"
    else:
        yield f"{_way(layout)}: {_way(simpler.layout)} would be {_worse(simpler, work, machine)}"


def _best_of_simpler(work: Work, machine: Machine, layout: Layout) -> Tried | None:
    """The best layout of the way to share that comes before this one."""
    every = tried(work, machine)
    ways = list(dict.fromkeys(_split(one.layout) for one in every))
    at = ways.index(_split(layout))
    if at == 0:
        return None
    return best(tuple(one for one in every if _split(one.layout) == ways[at - 1]))


def _worse(one: Tried, work: Work, machine: Machine) -> str:
    """What speaks against a layout that would fit, too."""
    if one.need.fits == "tight":
        return f"tight with {_of(one.need.peak, machine)}"
    taken = best(tried(work, machine))
    slower = f"{one.seconds / taken.seconds - 1:.0%} slower"
    twice = one.layout.checkpointing and not taken.layout.checkpointing
    return f"{slower}, since activations must be computed twice" if twice else slower


def _split(layout: Layout) -> tuple[str, str]:
    return layout.sharding, layout.offload


def _way(layout: Layout) -> str:
    moved = {"none": "", "optimizer": " with the optimizer on the host", "all": " on the host"}
    return f"{layout.sharding}{moved[layout.offload]}"


def _recomputing(work: Work, machine: Machine, found: Fit) -> Iterator[str]:
    layout = found.layout
    other = replace(layout, checkpointing=not layout.checkpointing)
    if work.recompute is not None:
        word = "always" if work.recompute else "never"
        yield f"checkpointing = {word}: the recipe says so"
    elif layout.checkpointing:
        without = need(work, machine, other)
        yield f"activation checkpointing: without it {_of(without.peak, machine)}"
    else:
        saved = found.estimate.peak - need(work, machine, other).peak
        if saved > NOTABLE * offered(machine):
            yield f"activations are kept: computing them twice would save {saved / GIB:.1f} GiB"


def _loss(work: Work, machine: Machine, layout: Layout) -> Iterator[str]:
    """Told where all logits at once would cost anything."""
    plain = need(work, machine, replace(layout, loss="plain")).memory.allocated
    more = plain - need(work, machine, layout).memory.allocated
    if more > NOTABLE * offered(machine):
        yield f"loss in pieces: all logits at once would take {more / GIB:.1f} GiB more"


def _micro(work: Work, machine: Machine, layout: Layout) -> Iterator[str]:
    if work.micro:
        yield f"micro = {work.micro}: the recipe says so"
        return
    larger = [
        one
        for one in tried(work, machine)
        if _same_but_micro(one.layout, layout) and one.layout.micro > layout.micro
    ]
    if larger:
        next_up = min(larger, key=lambda one: one.layout.micro)
        needs = _of(next_up.need.peak, part_of(work, machine))
        yield f"{layout.micro} at once: {next_up.layout.micro} need {needs}"
    elif layout.micro == share_of(work, layout.devices):
        yield f"{layout.micro} at once: a device's whole share of an update"


def _same_but_micro(one: Layout, other: Layout) -> bool:
    return replace(one, micro=0, accumulate=0) == replace(other, micro=0, accumulate=0)


def _of(needs: float, machine: Machine) -> str:
    return f"{needs / GIB:.1f} of {offered(machine) / GIB:.1f} GiB"
