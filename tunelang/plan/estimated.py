"""The figures of one training step, for people and as JSON."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tunelang.catalog import stacks
from tunelang.estimate.asked import ADAPTERS, POLICIES, Asked, Figures, layout_of
from tunelang.estimate.needs import CPU_SHARE, basis
from tunelang.estimate.parameters import count
from tunelang.plan.figures import bar, gib, of, span
from tunelang.plan.paint import BOLD, DIM, Painted, verdict
from tunelang.plan.words import ways

VERSION = 1
CELLS = 20
KEY, WIDTH = 10, 80  # columns of what a line is about, and of all
VERDICTS = {"yes": "fits", "tight": "fits tightly", "no": "does not fit"}


@dataclass(frozen=True)
class Told:
    """A question with its answer; `name` and `origin` are of the model's config."""

    asked: Asked
    figures: Figures
    name: str
    origin: str


def record(told: Told) -> dict[str, Any]:
    """As JSON: bytes are of one device, seconds of one update."""
    asked, found, machine = told.asked, told.figures, told.asked.machine
    return {
        "version": VERSION,
        "model": {"name": told.name, "config": told.origin},
        "stack": asked.stack,
        "device": machine.gpu.name if machine.gpu else "cpu",
        "devices": machine.devices,
        "nodes": machine.nodes,
        **_options(asked),
        "parameters": count(asked.architecture),
        "trainable_parameters": found.trained,
        "allocated_bytes": int(found.memory.allocated),
        "phase": found.memory.phase,
        "terms": {name: int(size) for name, size in found.memory.terms.items()},
        "phases": {name: int(size) for name, size in found.memory.phases.items()},
        "reserved_bytes": {
            "low": int(found.band.low),
            "mid": int(found.band.middle),
            "high": int(found.band.high),
        },
        "usable_bytes": found.usable,
        "host_bytes": int(found.host),
        "fits": found.fits != "no",
        "verdict": found.fits,
        "seconds_per_step": found.seconds.middle,
        "seconds_band": {"low": found.seconds.low, "high": found.seconds.high},
        "tokens_per_second": found.tokens / found.seconds.middle,
        "basis": basis(machine),
    }


def _options(asked: Asked) -> dict[str, Any]:
    names = (
        "method",
        "weights",
        "rank",
        "targets",
        "share",
        "last",
        "length",
        "reply",
        "micro",
        "accumulate",
    )
    more = ("checkpointing", "loss", "optimizer", "precision", "masters", "sharding", "offload")
    return {name: getattr(asked, name) for name in (*names, *more) if _means(asked, name)}


def _means(asked: Asked, name: str) -> bool:
    """Whether an option says something of what was asked."""
    if name in ("rank", "targets"):
        return asked.weights in ADAPTERS
    if name in ("share", "last"):
        return asked.weights == {"share": "experts", "last": "layers"}[name]
    return name != "reply" or asked.method in POLICIES


def screen(told: Told, *, colour: bool = False) -> str:
    """As a table: what was asked, what it needs, and what the figures rest on."""
    pen, asked, found = Painted(colour), told.asked, told.figures
    total, trained = count(asked.architecture), found.trained
    lines = [
        f"{pen(told.name, BOLD)}: {total:,} parameters, {trained:,} train ({trained / total:.2%})",
        f"config    {told.origin}",
        f"step      {_step(asked)}",
        *_wrapped("runs as", _layout(asked)),
        f"stack     {asked.stack}{_other(asked)}",
        "",
        *_memory(told, pen),
        "",
        f"time      {_time(found)} an update, {found.tokens / found.seconds.middle:,.0f} tokens/s",
        f"rests on  {basis(asked.machine)}",
    ]
    return "\n".join(lines) + "\n"


def _wrapped(about: str, text: str) -> list[str]:
    hang = " " * KEY
    return textwrap.wrap(text, WIDTH, initial_indent=f"{about:<{KEY}}", subsequent_indent=hang)


def _step(asked: Asked) -> str:
    adapter = f"(rank = {asked.rank})" if asked.weights in ADAPTERS else ""
    masters = " over fp32 masters" if asked.masters else ""
    what = [asked.method, asked.weights + adapter, asked.precision + masters, asked.optimizer]
    return ", ".join(what)


def _layout(asked: Asked) -> str:
    machine = asked.machine
    rows = [str(asked.micro), *([str(asked.accumulate)] if asked.accumulate > 1 else [])]
    rows += [f"{machine.devices} devices"] if machine.devices > 1 else []
    device = machine.gpu.name if machine.gpu else "CPU"
    how = ways(layout_of(asked), asked.method != "reward")
    return ", ".join([f"{' × '.join(rows)} × {asked.length:,} tokens on {device}", *how])


def _other(asked: Asked) -> str:
    """A word on what this project's own worker does otherwise."""
    if asked.stack != stacks.OURS or asked.loss == "chunked":
        return ""
    return ", whose own loss is chunked"


def _time(found: Figures) -> str:
    ends = (found.seconds.low, found.seconds.middle, found.seconds.high)
    low, middle, high = (f"{each:.3g} s" if each < 90 else span(each) for each in ends)
    return f"{middle} ({low} to {high})"


def _memory(told: Told, pen: Painted) -> Iterator[str]:
    found = told.figures
    offered = found.usable * (CPU_SHARE if told.asked.machine.kind == "cpu" else 1.0)
    share = found.band.middle / offered
    said = f"{of(found.band.middle, found.usable)}, {VERDICTS[found.fits]}"
    yield f"memory    {pen(f'{bar(share, CELLS)} {said}', verdict(share))}"
    yield f"          reserved {gib(found.band.low)} to {gib(found.band.high)}"
    yield f"          tensors {gib(found.memory.allocated)}, most at `{found.memory.phase}`"
    if found.host:
        yield f"          {gib(found.host)} of the machine's own memory beside it"
    terms = sorted(found.memory.terms.items(), key=lambda each: -each[1])
    width = max((len(name) for name, _ in terms), default=0)
    for name, size in terms:
        if size >= 1:
            drawn = bar(size / found.memory.allocated, CELLS).replace("░", " ")
            yield f"          {name:<{width}}  {pen(drawn, DIM)} {gib(size):>10}"
