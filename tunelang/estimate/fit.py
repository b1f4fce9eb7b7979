"""How to run a step on a machine: every layout is tried, the cheapest that fits is taken.

What the recipe fixes is a constraint: its batch, `micro`, `checkpointing`, `parallel`, precision,
weights and optimizer. What is left is searched whole, some hundred layouts a step.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from tunelang.estimate.layout import Layout
from tunelang.estimate.load import Sharding
from tunelang.estimate.machine import Machine
from tunelang.estimate.needs import Need, need, predicted, used
from tunelang.estimate.predicted import Estimate
from tunelang.estimate.reserve import Fits
from tunelang.estimate.time import step_seconds
from tunelang.estimate.ways import layouts, shardings
from tunelang.estimate.work import Work

# Of two predicted times, the share by which one is no better: far below what a prediction can tell
# (estimate/time.py); within it the simpler layout is taken.
ALIKE = 0.05


@dataclass(frozen=True)
class Tried:
    """One layout, what it needs of a device, and how long the step takes with it."""

    layout: Layout
    need: Need
    seconds: float


@dataclass(frozen=True)
class Fit:
    """The layout chosen, what it needs, and whether that fits."""

    layout: Layout
    threads: int
    estimate: Estimate
    fits: Fits

    @property
    def micro(self) -> int:
        return self.layout.micro

    @property
    def accumulate(self) -> int:
        return self.layout.accumulate

    @property
    def checkpointing(self) -> bool:
        return self.layout.checkpointing

    @property
    def sharding(self) -> Sharding:
        return self.layout.sharding


@lru_cache(maxsize=1024)  # stages are alike under profiles, and from one keystroke to the next
def fit(work: Work, machine: Machine) -> Fit | None:
    """The cheapest layout that fits, else one that fits tightly, else the smallest.

    None where no layout is allowed at all: `ways.impossible` says why.
    """
    every = tried(work, machine)
    if not every:
        return None
    found, part = best(every), part_of(work, machine)
    return Fit(
        layout=found.layout,
        threads=part.cores,
        estimate=predicted(work, part, found.layout, found.need),
        fits=found.need.fits,
    )


@lru_cache(maxsize=64)
def tried(work: Work, machine: Machine) -> tuple[Tried, ...]:
    """Every layout there is, the simplest first."""
    part = part_of(work, machine)
    return tuple(
        Tried(layout, need(work, part, layout), step_seconds(work, part, layout).middle)
        for layout in layouts(work, machine)
    )


def part_of(work: Work, machine: Machine) -> Machine:
    """What each process has, or the only one."""
    return used(work.parameters, machine, alone=not shardings(work, machine))


def best(every: tuple[Tried, ...]) -> Tried:
    """The simplest of those that are about as fast as the fastest that fits; else the smallest."""
    for verdict in ("yes", "tight"):
        fitting = [one for one in every if one.need.fits == verdict]
        if fitting:
            least = min(one.seconds for one in fitting) * (1 + ALIKE)
            return next(one for one in fitting if one.seconds <= least)
    # What a machine has no room for beside its devices says nothing of the devices.
    return min(every, key=lambda one: (not one.need.room, one.need.peak))
