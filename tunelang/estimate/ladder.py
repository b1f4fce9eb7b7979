"""Every layout of a step with its figures and the one reason for which it was taken or left."""

from __future__ import annotations

from dataclasses import dataclass

from tunelang.estimate.fit import ALIKE, Tried, best, part_of, tried
from tunelang.estimate.layout import Layout
from tunelang.estimate.machine import Machine
from tunelang.estimate.needs import offered
from tunelang.estimate.reserve import ACCEPT, Fits
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
