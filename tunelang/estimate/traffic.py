"""Bytes that move: through a device's memory, between devices, and to memory beside them."""

from __future__ import annotations

from functools import lru_cache

from tunelang.estimate.activations import activation_bytes
from tunelang.estimate.flops import passes, reach, updates
from tunelang.estimate.layout import Layout
from tunelang.estimate.load import Load
from tunelang.estimate.parameters import Architecture, Targets, chosen, linear_count
from tunelang.estimate.states import DIVIDES_OPTIMIZER
from tunelang.estimate.work import Work

# A saved byte is written once and read once on its way forward; on the way back it is read, and a
# gradient of its size is written.
TOUCHED = 2
# Loss: each byte of a logit is written, read, and read again for its gradient (planner notes: 1.5
# times as much as of activations).
LOGIT, LOGIT_TOUCHED = 12, 3
# NF4 to bf16: half a byte and its constants read, two written (bitsandbytes, dequantize_4bit).
DEQUANTISED = 2.6
# Adapters under autocast, an element of their input: to fp32 (6), back to bf16 (6), read (2); of
# their output: written (2), scaled (4), added to the base's (6) (peft/tuners/lora/layer.py).
ADAPTER_IN, ADAPTER_OUT = 14, 12
CAST = 6  # a weight of fp32 masters is read (4) and its bf16 copy written (2), once a micro-batch


@lru_cache(maxsize=256)
def passing(a: Architecture, weights: str, rank: int, targets: Targets, width: int) -> float:
    """Bytes that a pass over one token reads and writes in all layers beside matrix products."""
    load = Load(a, weights, 1, rank=rank, targets=targets, width=width)
    adapters = chosen(a, targets).values() if weights in ("lora", "qlora") else ()
    beside = sum(ADAPTER_IN * inward + ADAPTER_OUT * outward for inward, outward in adapters)
    return a.layers * (TOUCHED * activation_bytes(load) + beside)


def through_memory(work: Work, layout: Layout, tokens: float, scored: float) -> float:
    """Bytes that a micro-batch of a device reads and writes beside its matrix products."""
    a = work.architecture
    times = 1 + reach(work) * (1 + layout.checkpointing)
    one = passing(a, work.weights, work.rank, work.targets, work.width)
    moved = tokens * (one * times + scored * a.vocab * LOGIT * LOGIT_TOUCHED)
    if work.weights == "qlora":
        moved += times * DEQUANTISED * linear_count(a)
    if work.weights == "full" and work.precision != "fp32" and work.masters:
        moved += CAST * work.parameters
    return moved


def states(work: Work, layout: Layout) -> float:
    """Bytes of the optimizer's steps on one device: weights, gradients and two states are read, all
    but gradients are written."""
    width = 2 if work.weights == "full" and not work.masters else 4
    shards = layout.devices if layout.sharding in DIVIDES_OPTIMIZER else 1
    return updates(work) * _models(work) * 7.0 * width * work.trained / shards


def _models(work: Work) -> int:
    """How many models train: a policy's value model too."""
    return 1 + work.critic if work.reply else 1


def exchanged(work: Work, layout: Layout) -> float:
    """Bytes that each device sends in an update (ZeRO, arXiv 1910.02054, section 7).

    A ring passes (N - 1)/N of what it gathers or reduces; reducing for everyone is both.
    """
    if layout.devices == 1:
        return 0.0
    ring = (layout.devices - 1) / layout.devices
    gradients, weights = float(work.width * work.trained), float(work.width * work.parameters)
    steps, (trained, read) = updates(work) * _models(work), passes(work)
    if layout.sharding in ("ddp", "zero1"):
        return ring * steps * 2 * gradients
    micros = layout.accumulate * trained
    if layout.sharding == "zero2":  # gradients are shared out after each micro-batch
        return ring * gradients * (micros + steps)
    # Weights are gathered for each pass, forward and backward; gradients are shared out.
    return ring * (micros * (2 * weights + gradients) + layout.accumulate * read * weights)


def offloaded(work: Work, layout: Layout) -> tuple[float, float]:
    """Bytes of one device over the link to host memory in an update, and bytes that the optimizer
    on the host reads and writes for it."""
    if layout.offload == "none":
        return 0.0, 0.0
    steps, (trained, read) = updates(work) * _models(work), passes(work)
    share = work.trained / layout.devices
    moved = steps * 2.0 * work.width * share  # gradients out, new weights in
    if layout.offload == "all":
        times = layout.accumulate * (trained * (2 + layout.checkpointing) + read)
        moved += times * work.width * work.parameters / layout.devices
    return moved, steps * 7.0 * 4 * share
