"""Bytes that rest on a device between micro-batches: weights, gradients, optimizer states."""

from __future__ import annotations

from tunelang.estimate.load import Load, trainable
from tunelang.estimate.parameters import count, linear_count

# What each way to shard divides by the number of devices (ZeRO, arXiv 1910.02054, section 5).
DIVIDES_OPTIMIZER = ("zero1", "zero2", "zero3", "fsdp2")
DIVIDES_GRADIENTS = ("zero2", "zero3", "fsdp2")
DIVIDES_WEIGHTS = ("zero3", "fsdp2")


def divided(load: Load, by: tuple[str, ...]) -> int:
    """Over how many devices a state is spread."""
    return load.devices if load.sharding in by else 1


def weight_bytes(load: Load) -> float:
    """Weights at rest: bf16 or fp32, NF4 inside blocks for qlora, fp32 adapters and experts."""
    shards = divided(load, DIVIDES_WEIGHTS)
    total, linear = count(load.architecture), linear_count(load.architecture)
    if load.weights == "full":
        return load.width * total / shards
    adapters = 4.0 * trainable(load)
    if load.weights != "qlora":
        return load.width * total / shards + adapters
    return (load.held * linear + load.width * (total - linear)) / shards + adapters


def gradient_bytes(load: Load) -> float:
    """In the parameters' type; adapters are fp32."""
    width = load.width if load.weights == "full" else 4
    return width * trainable(load) / divided(load, DIVIDES_GRADIENTS)


def optimizer_bytes(load: Load) -> float:
    """AdamW's two states in the parameters' type; DeepSpeed adds fp32 masters: 12 bytes."""
    shards = divided(load, DIVIDES_OPTIMIZER)
    if load.masters and load.weights == "full":
        return 12.0 * trainable(load) / shards
    width = load.width if load.weights == "full" else 4
    return 2.0 * width * trainable(load) / shards
