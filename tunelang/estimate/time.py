"""Time from first principles: each part of an update over what the device achieves, as a band.

An update is `accumulate` micro-batches and an optimizer's step; a policy's samples before it. What
moves between devices costs what computation does not hide. Nothing here is measured on the machine
at hand, unless a calibration is laid over it.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

from tunelang.estimate.flops import (
    Operations,
    forward,
    length,
    passes,
    scores,
    training,
    updates,
)
from tunelang.estimate.layout import Layout
from tunelang.estimate.machine import Machine
from tunelang.estimate.parameters import chosen
from tunelang.estimate.rates import ADAPTER_KERNELS, HOST_MEMORY, KERNELS, Rates, rates
from tunelang.estimate.sampling import sampling_seconds
from tunelang.estimate.traffic import exchanged, offloaded, states, through_memory
from tunelang.estimate.work import Work

# A figure from first principles is within 25 to 35 % on GPUs (planner notes, section 3), and within
# 3 to 10 % once three steps were measured on the device.
GPU_BAND, CPU_BAND, MEASURED_BAND = (0.75, 1.35), (0.5, 2.0), (0.9, 1.1)
START = 4.0  # seconds to start a worker, import its libraries and save (measured on two cores)
READING = 1.5e9  # bytes/s of weights from a disk: a cloud machine's NVMe drive
BACKWARD = 2 / 3  # of a micro-batch, behind which gradients are exchanged


@dataclass(frozen=True)
class Seconds:
    low: float
    middle: float
    high: float


@dataclass(frozen=True)
class Parts:
    """Seconds of one update on every device; what is hidden behind something else is 0."""

    products: float
    attention: float
    memory: float
    launches: float
    optimizer: float
    exchange: float
    offload: float
    sampling: float

    @property
    def all(self) -> float:
        return sum(float(getattr(self, each.name)) for each in fields(self))


def step_seconds(work: Work, machine: Machine, layout: Layout) -> Seconds:
    """A whole step: start, reading the weights, every update. A machine's calibration counts."""
    train = work.steps * update_seconds(work, machine, layout)
    start = START + work.width * work.parameters / READING
    low, high = band(machine)
    return Seconds(start + train * low, start + train, start + train * high)


def update_seconds(work: Work, machine: Machine, layout: Layout) -> float:
    """One update, the middle of the band."""
    measured = machine.calibration.time if machine.calibration else 1.0
    return update(work, machine, layout).all * measured


def band(machine: Machine) -> tuple[float, float]:
    """How far off a figure may be, as shares of it."""
    if machine.calibration:
        return MEASURED_BAND
    return GPU_BAND if machine.kind == "gpu" else CPU_BAND


def update(work: Work, machine: Machine, layout: Layout) -> Parts:
    """One update; for a policy an iteration: sampling, scoring, every pass over the samples."""
    reached = rates(machine, work.precision, work.architecture.hidden, layout)
    done = operations(work, layout)
    products, attention = done.products / reached.products, done.attention / reached.attention
    memory = _memory(work, layout) / reached.memory
    busy = products + attention + memory
    launches = _launches(work, layout, reached, busy)
    moved, touched = offloaded(work, layout)
    return Parts(
        products=products,
        attention=attention,
        memory=memory,
        launches=launches,
        optimizer=0.0 if touched else states(work, layout) / reached.memory,
        exchange=_exposed(work, layout, reached, busy + launches),
        offload=moved / reached.host + touched / HOST_MEMORY,
        sampling=sampling_seconds(work, layout, reached),
    )


def operations(work: Work, layout: Layout) -> Operations:
    """What one device does in an update, sampling apart."""
    long = length(work)
    tokens = float(layout.micro * layout.accumulate * work.rows * long)
    trained, read = passes(work)
    done = training(work, layout, tokens, long).times(trained)
    if read:
        done += forward(work.architecture, tokens, long, scores(work)).times(read)
    if work.texts:
        done += training(work, layout, work.texts / layout.devices, work.mean_length)
    return done


def _memory(work: Work, layout: Layout) -> float:
    """Bytes that an update's micro-batches read and write in a device's memory."""
    tokens = float(layout.micro * work.rows * length(work))
    trained, _ = passes(work)
    return trained * layout.accumulate * through_memory(work, layout, tokens, scores(work))


def _launches(work: Work, layout: Layout, reached: Rates, busy: float) -> float:
    """Host time that the device waits for: kernels of forward, of backward (twice), of what is
    recomputed."""
    kernels = KERNELS
    if work.weights in ("lora", "qlora"):
        kernels += ADAPTER_KERNELS * len(chosen(work.architecture, work.targets))
    trained, read = passes(work)
    times = (trained * (3 + layout.checkpointing) + read) * layout.accumulate
    host = reached.launch * kernels * work.architecture.layers * times
    return max(0.0, host - busy) if reached.parallel else host


def _exposed(work: Work, layout: Layout, reached: Rates, busy: float) -> float:
    """Exchange that is not hidden: that of gradients by the backward they come from, of sharded
    weights by everything. `busy` is with the device's waiting for kernels, which hides as well."""
    seconds = exchanged(work, layout) / reached.link
    if not reached.parallel:
        return seconds
    if layout.sharding in ("ddp", "zero1"):  # with the last micro-batch of each optimizer step
        last = updates(work) / (layout.accumulate * (work.epochs if work.reply else 1))
        return max(0.0, seconds - BACKWARD * busy * min(1.0, last))
    return max(0.0, seconds - busy * (BACKWARD if layout.sharding == "zero2" else 1.0))
