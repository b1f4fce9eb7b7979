"""What a step that trains nothing needs: weights, the cache of keys and values, logits, time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from tunelang.estimate import fit, time
from tunelang.estimate.load import NF4
from tunelang.estimate.machine import Machine
from tunelang.estimate.parameters import Architecture, count, linear_count
from tunelang.estimate.predicted import Estimate

AT_ONCE = {"gpu": 64, "cpu": 32}  # sequences; more share no more of a token's reading of weights
# Bytes of a logit where it is looked at: fp32, and its softmax in fp32 or fp64 (train/sampling.py).
LOGIT = 4 + 4 + 8


@dataclass(frozen=True)
class Reading:
    """A model that is read and not trained, `width` bytes a weight; one is held at a time.

    `sequences` rows pass, of `prompt` tokens each, after which `reply` tokens are drawn. `micro`
    rows are computed at once; planned where it is None.
    """

    architecture: Architecture
    width: float
    sequences: int = 0
    prompt: int = 0
    reply: int = 0
    quantised: bool = False
    micro: int | None = None


@dataclass(frozen=True)
class Read:
    """How it runs, what it needs, and whether that fits."""

    micro: int
    threads: int
    estimate: Estimate
    fits: Literal["yes", "tight", "no"]


def read(work: Reading, machine: Machine) -> Read:
    """The most rows at once that fit well, else tightly, else one row."""
    tried = [(micro, peak(work, machine, micro)) for micro in micros(work, machine)]
    offered = fit.offered(machine)
    for share, word in ((fit.ACCEPT, "yes"), (fit.REFUSE, "tight")):
        for micro, needs in tried:
            if needs <= share * offered:
                return _read(work, machine, micro, word)  # type: ignore[arg-type]
    return _read(work, machine, tried[-1][0], "no")


def micros(work: Reading, machine: Machine) -> Iterator[int]:
    """Rows at once, the most first."""
    most = work.micro or min(AT_ONCE[machine.kind], max(1, work.sequences))
    yield most
    while work.micro is None and most > 1:
        most //= 2
        yield most


def weights(work: Reading) -> float:
    """Bytes of resting weights: linear layers in NF4 where the model was trained on those."""
    total, linear = count(work.architecture), linear_count(work.architecture)
    return NF4 * linear + work.width * (total - linear) if work.quantised else work.width * total


def passing(work: Reading, micro: int) -> float:
    """Bytes of the cache, of one layer's activations and of the logits of the last positions."""
    a = work.architecture
    if not work.sequences:
        return 0.0
    cache = 2.0 * a.layers * a.kv * (work.prompt + work.reply) * work.width
    layer = (6.0 * a.hidden + 3.0 * a.ffn) * work.prompt * work.width
    return micro * (cache + layer + LOGIT * a.vocab)


def peak(work: Reading, machine: Machine, micro: int) -> float:
    """Bytes of the device, with what lies outside the allocator (estimate/fit.py)."""
    held = weights(work) + passing(work, micro)
    if machine.kind == "cpu":
        return held * fit.CPU_FACTOR + fit.CPU_PROCESS
    return held * fit.RESERVED + fit.CONTEXT


def seconds(work: Reading, machine: Machine, micro: int) -> float:
    """Prompts by operations; replies by reading the weights once a token for all rows at once."""
    a = work.architecture
    size = count(a)
    core = time.CPU_FP32 if work.width == 4 else time.CPU_BF16 if machine.bf16 else None
    rate = (core or time.CPU_SLOW_BF16) * machine.cores * time.CPU_EFFICIENCY
    bandwidth = time.CPU_BANDWIDTH
    if machine.gpu:
        rate = machine.gpu.flops * time.MFU.get(machine.gpu.name, time.MFU_OTHER)
        bandwidth = machine.gpu.bandwidth
    compute = work.sequences * (work.prompt + work.reply) * 2.0 * size / rate
    groups = -(-work.sequences // micro)
    return compute + groups * work.reply * work.width * size / (bandwidth * time.DECODE)


def _read(work: Reading, machine: Machine, micro: int, word: Literal["yes", "tight", "no"]) -> Read:
    small = count(work.architecture) < fit.SMALL
    threads = 1 if small else machine.cores
    return Read(micro, threads, _estimate(work, machine, micro), word)


def _estimate(work: Reading, machine: Machine, micro: int) -> Estimate:
    needs, took = peak(work, machine, micro), seconds(work, machine, micro)
    held = weights(work)
    low, high = time.GPU_BAND if machine.kind == "gpu" else time.CPU_BAND
    price = machine.price * machine.count if machine.price is not None else None
    return Estimate(
        parameters=count(work.architecture),
        trainable=0,
        allocated=int(held + passing(work, micro)),
        terms={"weights": int(held), "activations": int(passing(work, micro))},
        peak=int(needs),
        peak_low=int(needs * 0.7),
        peak_high=int(needs * 1.4),
        phase="generation" if work.reply else "reading",
        usable=machine.usable,
        seconds_low=time.START + took * low,
        seconds=time.START + took,
        seconds_high=time.START + took * high,
        dollars=None if price is None else price * (time.START + took) / 3600,
        basis="published formulas; nothing was measured on this machine",
    )
