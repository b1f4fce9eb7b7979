"""How to run a step on a machine: every way is tried in the order of remedies, the first fits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from tunelang.estimate.load import Load, Sharding, trainable
from tunelang.estimate.machine import Machine
from tunelang.estimate.memory import Memory, memory
from tunelang.estimate.predicted import Estimate
from tunelang.estimate.states import gradient_bytes, optimizer_bytes, weight_bytes
from tunelang.estimate.time import seconds
from tunelang.estimate.work import Work

ACCEPT, REFUSE = 0.85, 0.95  # of usable memory (planner notes, point 3)
CONTEXT = 2**30  # CUDA context, cuBLAS and allocator slack on top of allocated bytes
RESERVED = 1.12  # reserved over allocated where logits are computed in chunks or for few positions
CPU_FACTOR = 1.35  # resident over tracked bytes on a CPU (stack notes, section 9)
CPU_PROCESS = 0.6 * 2**30  # interpreter and libraries
CPU_SHARE = 0.5  # of a CPU machine's memory
CPU_TOKENS = 2048  # tokens of a micro-batch beyond which a CPU gains nothing
SMALL = 10_000_000  # parameters below which a second thread costs more than it brings
BUCKETS = 3.7 * 2**30  # DeepSpeed's own buffers at its defaults (planner notes, section 3)


@dataclass(frozen=True)
class Fit:
    """The way chosen, what it needs, and whether that fits."""

    micro: int
    accumulate: int
    checkpointing: bool
    sharding: Sharding
    launcher: Literal["local", "torchrun", "deepspeed"]
    threads: int
    estimate: Estimate
    fits: Literal["yes", "tight", "no"]


@dataclass(frozen=True)
class Way:
    """One way to run: rows at once on a device, recomputation, sharding."""

    micro: int
    checkpointing: bool
    sharding: Sharding


@lru_cache(maxsize=1024)  # stages are alike under profiles, and from one keystroke to the next
def fit(work: Work, machine: Machine) -> Fit:
    """The first way that fits well, else the first that fits tightly, else the smallest."""
    tried = [(way, need(work, machine, way)) for way in ways(work, machine)]
    for share, word in ((ACCEPT, "yes"), (REFUSE, "tight")):
        for way, found in tried:
            if found.peak <= share * offered(machine):
                return _fit(work, machine, (way, found, word))  # type: ignore[arg-type]
    way, found = min(tried, key=lambda pair: pair[1].peak)
    return _fit(work, machine, (way, found, "no"))


def offered(machine: Machine) -> float:
    """Bytes that a step may plan with; a CPU's memory is shared with everything else."""
    return machine.usable * (CPU_SHARE if machine.kind == "cpu" else 1.0)


def ways(work: Work, machine: Machine) -> Iterator[Way]:
    """In the order of preference: no sharding before sharding, no recomputation before it, and
    the largest micro-batch first."""
    shardings: tuple[Sharding, ...] = ("none",) if machine.count == 1 else ("ddp", "zero2", "zero3")
    for sharding in shardings:
        for checkpointing in (False, True) if work.recompute is None else (work.recompute,):
            for micro in micros(work, machine):
                yield Way(micro, checkpointing, sharding)


def micros(work: Work, machine: Machine) -> list[int]:
    """Divisors of a device's share of the batch, largest first."""
    share = max(1, work.batch // machine.count)
    if work.micro:
        return [min(work.micro, share)]
    most = 64 if machine.kind == "gpu" else CPU_TOKENS // (work.rows * work.positions)
    return [n for n in range(min(share, most), 0, -1) if share % n == 0] or [1]


@dataclass(frozen=True)
class Need:
    """Bytes of one device: what tensors take, and `peak` with what lies outside the allocator."""

    memory: Memory
    allocated: float
    terms: dict[str, float]
    peak: float


def need(work: Work, machine: Machine, way: Way) -> Need:
    """What one device needs for a step that is run this way."""
    load = _load(work, machine, way)
    found = memory(load)
    extra = _roles(work, load) if work.reply else 0.0
    buckets = BUCKETS if way.sharding == "zero3" else 0.0
    allocated = found.allocated + extra + buckets
    more = {"roles": extra, "buffers": buckets}
    terms = {**found.terms, **{name: size for name, size in more.items() if size}}
    if machine.kind == "cpu":
        return Need(found, allocated, terms, allocated * CPU_FACTOR + CPU_PROCESS)
    return Need(found, allocated, terms, allocated * RESERVED + CONTEXT)


def _load(work: Work, machine: Machine, way: Way) -> Load:
    share = max(1, work.batch // machine.count)
    return Load(
        architecture=work.architecture,
        weights=work.weights,
        tokens=way.micro * work.rows * work.positions,
        rank=work.rank,
        targets=work.targets,
        checkpointing=way.checkpointing,
        accumulates=way.micro < share,
        width=work.width,
        sharding=way.sharding,
        devices=machine.count,
        masters=work.weights == "full" and work.precision != "fp32" and work.masters,
        scored=_scored(work),
        share=work.share,
        held=work.held,
    )


def _scored(work: Work) -> float:
    """Positions whose logits are computed: replies for ppo, none for a reward model."""
    if work.method == "reward_modeling":
        return 0.0
    return work.reply / work.positions if work.reply else 1.0


def _roles(work: Work, load: Load) -> float:
    """A policy's other models: copies where everything trains, else adapters on the one base.

    The reference is the base itself there; the value model of ppo trains too.
    """
    a = work.architecture
    cache = 2.0 * a.layers * a.kv * work.width * (load.tokens / work.positions) * work.positions
    if work.weights == "full":
        trains = weight_bytes(load) + gradient_bytes(load) + optimizer_bytes(load)
        value = trains if work.critic else 0.0
        return work.frozen * weight_bytes(load) + value + cache
    return (4.0 * (work.frozen - 1) + 16.0 * work.critic) * trainable(load) + cache


def _fit(
    work: Work, machine: Machine, chosen: tuple[Way, Need, Literal["yes", "tight", "no"]]
) -> Fit:
    way, found, word = chosen
    small = work.parameters < SMALL
    launcher: Literal["local", "torchrun", "deepspeed"] = "local"
    if machine.count > 1:
        launcher = "torchrun" if way.sharding == "ddp" else "deepspeed"
    return Fit(
        micro=way.micro,
        accumulate=max(1, work.batch // (machine.count * way.micro)),
        checkpointing=way.checkpointing,
        sharding=way.sharding,
        launcher=launcher,
        threads=1 if small else machine.cores,
        estimate=_predicted(work, machine, (way, found)),
        fits=word,
    )


def _predicted(work: Work, machine: Machine, chosen: tuple[Way, Need]) -> Estimate:
    way, found = chosen
    time = seconds(work, machine, checkpointing=way.checkpointing)
    low, high = (0.85, 1.25) if machine.kind == "gpu" else (0.7, 1.4)
    price = machine.price * machine.count if machine.price is not None else None
    return Estimate(
        parameters=work.parameters,
        trainable=work.trained,
        allocated=int(found.allocated),
        terms={name: int(size) for name, size in found.terms.items()},
        phases={name: int(size) for name, size in found.memory.phases.items()},
        phase=found.memory.phase,
        peak=int(found.peak),
        peak_low=int(found.peak * low),
        peak_high=int(found.peak * high),
        usable=machine.usable,
        seconds_low=time.low,
        seconds=time.middle,
        seconds_high=time.high,
        dollars=None if price is None else price * time.middle / 3600,
        basis="published formulas; nothing was measured on this machine",
    )
