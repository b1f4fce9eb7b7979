"""Peak memory of one training step on one device, in closed form.

The peak is the maximum over phases, never a sum. Bytes per element come from the code of
transformers 5.23, peft 0.21 and torch 2.13; a test holds the form against steps executed on meta
tensors (tests/data/memory_golden.json).
"""

from __future__ import annotations

from dataclasses import dataclass

from tunelang.estimate.parameters import (
    Architecture,
    Targets,
    chosen,
    count,
    linear_count,
    lora_count,
    selected_count,
)

NF4 = 0.5 + 1 / 64 + 4 / 16384  # bytes a weight, double quantised (QLoRA, arXiv 2305.14314)
SINGLE = 0.5 + 4 / 64  # one fp32 constant for each block of 64 weights
INT8 = 1.0  # and one fp32 scale a row, which is nothing beside it (arXiv 2208.07339)
# Bytes per logit: transformers upcasts to fp32 (4), log-softmax (4) and its gradient in bf16 and
# fp32; 10 at the end of forward, 12 in the loss's backward.
LOGIT_FORWARD, LOGIT_BACKWARD = 10, 12
LOGIT_KEPT = 2  # the caller holds the bf16 logits too


@dataclass(frozen=True)
class Load:
    """One micro-batch on one device: what trains, how, and how many tokens at once.

    `shards` divides weights, gradients and optimiser states (ZeRO); 1 is none. `scored` is the
    share of positions whose logits are computed; 0 for a reward model, which has no head.
    """

    architecture: Architecture
    weights: str  # full, lora, qlora, experts
    tokens: int
    rank: int = 0
    targets: Targets = "all_linear"
    checkpointing: bool = False
    accumulates: bool = False
    width: int = 2  # bytes of a weight: 2 bf16, 4 fp32
    keeps_logits: bool = False
    foreach: bool = False
    shard_optimiser: int = 1
    shard_gradients: int = 1
    shard_weights: int = 1
    master: bool = False  # DeepSpeed keeps fp32 masters of bf16 weights
    scored: float = 1.0
    share: float = 0.0  # of the routed experts of each block, where weights are experts
    held: float = NF4  # bytes of a resting weight of a linear layer, where weights are qlora


@dataclass(frozen=True)
class Memory:
    """Bytes by what they are, the peak and the phase it falls in."""

    weights: float
    gradients: float
    optimiser: float
    activations: float
    other: float
    peak: float
    phase: str


def memory(load: Load) -> Memory:
    """The peak of a step: forward end, last and first layer's backward, end, optimiser."""
    held, gradients, optimiser = weight_bytes(load), gradient_bytes(load), optimiser_bytes(load)
    fixed = held + optimiser + (gradients if load.accumulates else 0)
    layers, live = load.architecture.layers, _live(load)
    saved = saved_bytes(load)
    embedding = (
        0.0 if load.weights != "full" else 2.0 * load.architecture.vocab * load.architecture.hidden
    )
    kept = LOGIT_KEPT * _logits(load) if load.keeps_logits else 0.0
    # Without checkpointing the last layer's activations are among the saved ones already.
    extra = saved if load.checkpointing else 0.0
    phases = {
        "loss": fixed + layers * saved + extra + LOGIT_BACKWARD * _logits(load) + kept,
        "last layer": fixed + layers * saved + live + kept + _head_gradient(load),
        "first layer": held + optimiser + gradients - embedding + saved + live + kept,
        "end": held
        + optimiser
        + gradients
        + (2 * embedding if load.architecture.tied else 0.0)
        + kept,
        "optimiser": held + optimiser + gradients + (gradients if load.foreach else 0.0),
    }
    phase = max(phases, key=lambda name: phases[name])
    peak = phases[phase]
    activations = layers * saved + live
    return Memory(
        held,
        gradients,
        optimiser,
        activations,
        max(0.0, peak - held - gradients - optimiser - activations),
        peak,
        phase,
    )


def trainable(load: Load) -> int:
    """Parameters that train."""
    if load.weights == "full":
        return count(load.architecture)
    if load.weights == "experts":
        return selected_count(load.architecture, load.share)
    return lora_count(load.architecture, load.rank, load.targets)


def weight_bytes(load: Load) -> float:
    """Weights at rest: bf16 or fp32, NF4 inside blocks for qlora, fp32 adapters and experts."""
    total, linear = count(load.architecture), linear_count(load.architecture)
    if load.weights == "full":
        return load.width * total / load.shard_weights
    adapters = 4.0 * trainable(load)
    if load.weights != "qlora":
        return load.width * total / load.shard_weights + adapters
    return (load.held * linear + load.width * (total - linear)) / load.shard_weights + adapters


def gradient_bytes(load: Load) -> float:
    """In the parameters' type; adapters are fp32."""
    width = load.width if load.weights == "full" else 4
    return width * trainable(load) / load.shard_gradients


def optimiser_bytes(load: Load) -> float:
    """AdamW's two states in the parameters' type; DeepSpeed adds fp32 masters: 12 bytes."""
    if load.master and load.weights == "full":
        return 12.0 * trainable(load) / load.shard_optimiser
    width = load.width if load.weights == "full" else 4
    return 2.0 * width * trainable(load) / load.shard_optimiser


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


def _live(load: Load) -> float:
    """The one layer that is recomputed and its working memory."""
    a = load.architecture
    on_ffn = load.weights in ("lora", "qlora") and any(
        name in chosen(a, load.targets) for name in ("gate_proj", "up_proj", "down_proj")
    )
    work = (4 * a.inner + 12 * a.hidden) if on_ffn else (6 * a.inner + 2 * a.hidden)
    recomputed = activation_bytes(load) if load.checkpointing else 0.0
    return recomputed + work * load.tokens * load.width / 2 + _dequantised(load)


def _dequantised(load: Load) -> float:
    """qlora: one matrix in bf16 at a time."""
    if load.weights != "qlora":
        return 0.0
    a = load.architecture
    return 2.0 * max(a.hidden * a.ffn, a.hidden * a.query)


def _logits(load: Load) -> float:
    return load.scored * load.architecture.vocab * load.tokens


def _head_gradient(load: Load) -> float:
    """The head's gradient, which exists when the last layer's backward runs."""
    return (
        float(load.width * load.architecture.vocab * load.architecture.hidden)
        if load.weights == "full"
        else 0.0
    )
