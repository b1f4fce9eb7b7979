"""What a step that trains nothing needs: weights, the cache of keys and values, logits, time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tunelang.estimate import reserve, time
from tunelang.estimate.flops import forward
from tunelang.estimate.load import NF4
from tunelang.estimate.machine import Machine
from tunelang.estimate.needs import basis, dollars, offered, used
from tunelang.estimate.parameters import Architecture, count, linear_count
from tunelang.estimate.predicted import Estimate
from tunelang.estimate.rates import rates
from tunelang.estimate.reserve import Band, Fits
from tunelang.estimate.sampling import token_seconds

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
    fits: Fits


def read(work: Reading, machine: Machine) -> Read:
    """The most rows at once that fit well, else tightly, else one row. One process reads."""
    machine = used(count(work.architecture), machine, alone=True)
    tried = [(micro, band(work, machine, micro)) for micro in micros(work, machine)]
    for verdict in ("yes", "tight"):
        for micro, needs in tried:
            if reserve.fits(needs, offered(machine)) == verdict:
                return _read(work, machine, micro, verdict)
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


def band(work: Reading, machine: Machine, micro: int) -> Band:
    """Bytes of the device, with what lies outside the allocator."""
    held = weights(work) + passing(work, micro)
    needs = reserve.resident(held) if machine.kind == "cpu" else reserve.reserved(held)
    return reserve.calibrated(needs, machine.calibration)


def seconds(work: Reading, machine: Machine, micro: int) -> float:
    """Prompts by operations; replies by reading the weights once a token for all rows at once."""
    a, length = work.architecture, work.prompt + work.reply
    reached = rates(machine, "fp32" if work.width == 4 else "bf16", a.hidden)
    read = forward(a, float(work.sequences * length), length, 0.0)
    token = token_seconds(a, weights(work), micro, work.prompt + work.reply / 2, reached)
    written = -(-work.sequences // micro) * work.reply * token
    took = read.products / reached.products + read.attention / reached.attention + written
    return took * (machine.calibration.time if machine.calibration else 1.0)


def _read(work: Reading, machine: Machine, micro: int, word: Fits) -> Read:
    return Read(micro, machine.cores, _estimate(work, machine, micro), word)


def _estimate(work: Reading, machine: Machine, micro: int) -> Estimate:
    needs, took = band(work, machine, micro), seconds(work, machine, micro)
    held, passed = weights(work), passing(work, micro)
    low, high = time.band(machine)
    phase = "generation" if work.reply else "reading"
    return Estimate(
        parameters=count(work.architecture),
        trainable=0,
        allocated=int(held + passed),
        terms={"weights": int(held), "activations": int(passed)},
        phases={phase: int(held + passed)},
        phase=phase,
        peak=int(needs.middle),
        peak_low=int(needs.low),
        peak_high=int(needs.high),
        usable=machine.usable,
        seconds_low=time.START + took * low,
        seconds=time.START + took,
        seconds_high=time.START + took * high,
        dollars=dollars(machine, time.START + took),
        basis=basis(machine),
    )
