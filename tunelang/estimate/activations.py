"""Bytes that a micro-batch makes on its way forward and back, layer by layer."""

from __future__ import annotations

from tunelang.estimate.load import Load
from tunelang.estimate.parameters import Architecture, chosen


def activation_bytes(load: Load) -> float:
    """What one layer saves for its backward, without checkpointing (planner notes, section 3)."""
    a = load.architecture
    h, q, kv, f, nh = a.hidden, a.query, a.kv, a.inner, a.heads
    scale = load.width / 2  # the terms below are for bf16
    extra_norms = (6 if load.weights == "full" else 4) * (q + kv) if a.qk_norm else 0
    if load.weights == "full":
        per_token = 2 * (6 * h + 4) + 4 * h + 2 * q + 4 * kv + 2 * q + 4 * nh + 8 * f
    else:
        adapters = 0
        if load.weights != "experts":
            adapters = sum(4 * i + 4 * load.rank for i, _ in chosen(a, load.targets).values())
        per_token = 2 * (4 * h + 4) + 4 * q + 4 * kv + 4 * nh + 6 * f + adapters
    return float((per_token + extra_norms + _routed(a)) * scale * load.tokens)


def _routed(a: Architecture) -> int:
    """Bytes of bf16 a token by which routed experts save more than one feed-forward of their
    width: their inputs and outputs gathered, and the router's fp32 shares (planner notes, 3)."""
    return a.experts.active * 4 * a.hidden + 8 * a.experts.count if a.experts else 0


def saved_bytes(load: Load) -> float:
    """What each layer keeps between forward and backward."""
    if load.checkpointing:
        return float(load.width * load.architecture.hidden * load.tokens)
    return activation_bytes(load)


def live_bytes(load: Load) -> float:
    """The one layer that is recomputed and its working memory."""
    a = load.architecture
    on_ffn = load.weights in ("lora", "qlora") and any(
        name in chosen(a, load.targets) for name in ("gate_proj", "up_proj", "down_proj")
    )
    work = (4 * a.inner + 12 * a.hidden) if on_ffn else (6 * a.inner + 2 * a.hidden)
    recomputed = activation_bytes(load) if load.checkpointing else 0.0
    return recomputed + work * load.tokens * load.width / 2 + dequantised_bytes(load)


def dequantised_bytes(load: Load) -> float:
    """qlora: one matrix in bf16 at a time."""
    if load.weights != "qlora":
        return 0.0
    a = load.architecture
    return 2.0 * max(a.hidden * a.ffn, a.hidden * a.query)
