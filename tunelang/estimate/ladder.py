"""Every layout of a step with its figures and the one reason for which it was taken or left."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tunelang.estimate import able
from tunelang.estimate.fit import ALIKE, Tried, best, part_of, tried
from tunelang.estimate.layout import Layout
from tunelang.estimate.machine import Machine
from tunelang.estimate.needs import offered
from tunelang.estimate.reserve import ACCEPT, Fits
from tunelang.estimate.ways import shardings
from tunelang.estimate.work import Work

GIB = 2**30
RANKS: dict[Fits, int] = {"yes": 0, "tight": 1, "no": 2}


@dataclass(frozen=True)
class Candidate:
    """A layout that was tried: bytes of a device, seconds of the step, and one clause of why."""

    layout: Layout
    peak: int
    peak_low: int
    peak_high: int
    seconds: float
    verdict: Fits
    reason: str
    chosen: bool = False


def ladder(work: Work, machine: Machine) -> list[Candidate]:
    """Best first: the one chosen, those that fit by time, tight ones, the others by memory."""
    every = tried(work, machine)
    if not every:
        return []
    taken = best(every)
    rest = sorted(
        (one for one in every if one is not taken),
        key=lambda one: (RANKS[one.need.fits], *_worth(one)),
    )
    usable = offered(part_of(work, machine))
    return [_candidate(one, taken, usable) for one in (taken, *rest)]


def _worth(one: Tried) -> tuple[float, float]:
    """Those that fit by time, then by what they leave free; others by what they need."""
    fits = one.need.fits == "yes"
    return (one.seconds, one.need.peak) if fits else (one.need.peak, one.seconds)


def _candidate(one: Tried, taken: Tried, usable: float) -> Candidate:
    band = one.need.band
    return Candidate(
        layout=one.layout,
        peak=int(band.middle),
        peak_low=int(band.low),
        peak_high=int(band.high),
        seconds=one.seconds,
        verdict=one.need.fits,
        reason=_chosen(one) if one is taken else _left(one, taken, usable),
        chosen=one is taken,
    )


def _chosen(one: Tried) -> str:
    said: dict[Fits, str] = {
        "yes": "the fastest that fits",
        "tight": "the fastest that may fit",
        "no": "nothing fits; this needs least",
    }
    return said[one.need.fits]


def _left(one: Tried, taken: Tried, usable: float) -> str:
    if not one.need.room:
        return f"{one.need.host / GIB:,.0f} GiB beside the devices of a machine are too many"
    if one.need.fits == "no":
        return f"short by {(one.need.peak - usable * ACCEPT) / GIB:.1f} GiB"
    if one.need.fits == "tight" and taken.need.fits == "yes":
        return f"tight: {one.need.peak / usable:.0%} of what is usable"
    slower = one.seconds / taken.seconds - 1
    if slower > ALIKE:
        return f"{slower:.0%} slower"
    return "no faster, and less simple" if _moves(one, taken) else "no faster, fewer rows at once"


def _moves(one: Tried, taken: Tried) -> bool:
    """Whether more is moved or computed than by the one taken."""
    mine, other = one.layout, taken.layout
    return (mine.sharding, mine.offload, mine.checkpointing) != (
        other.sharding,
        other.offload,
        other.checkpointing,
    )


def excluded(work: Work, machine: Machine) -> list[str]:
    """What was not tried at all, a line each with its reason: constraints, not figures."""
    lines = [*_engines(work, machine), *_offloads(work, machine), *_written(work)]
    return [line for line in lines if line]


def _engines(work: Work, machine: Machine) -> Iterator[str]:
    """Ways to share that the worker or the launcher has not."""
    kind = work.kind or work.weights
    if machine.devices == 1:
        yield "sharding: there is one device"
        return
    able_to, started = able.shardings(work.method, kind), shardings(work, machine)
    never = [way for way in able.EVERY if way not in able_to]
    if never:
        yield f"{', '.join(never)}: not for {work.method} with {kind} weights in this version"
    unstarted = [way for way in able_to if way not in started]
    if unstarted:
        yield f"{', '.join(unstarted)}: the launcher of the hardware does not start them"


def _offloads(work: Work, machine: Machine) -> Iterator[str]:
    if work.offload is None and machine.kind == "cpu":
        yield "offload: there is no memory beside a CPU"
    elif work.offload is None and machine.host is None:
        yield "offload: `host_memory` of the hardware is not known"


def _written(work: Work) -> Iterator[str]:
    """What the recipe says."""
    if work.micro:
        yield f"other micro-batches: the recipe says micro = {work.micro}"
    if work.recompute is not None:
        word = "always" if work.recompute else "never"
        yield f"the other checkpointing: the recipe says {word}"
    if work.sharding:
        yield f"other sharding: the recipe says {work.sharding}"
    if work.offload:
        yield f"other offload: the recipe says {work.offload}"
    yield "other weights, precisions, optimizers: they change the result, which the recipe says"
