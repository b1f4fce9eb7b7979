"""Bytes that rest on a device between micro-batches: weights, gradients, optimizer states."""

from __future__ import annotations

from tunelang.estimate.load import Load, reached, trainable
from tunelang.estimate.sizes import count, linear_count, routed_count

# What each way to shard divides by the number of devices (ZeRO, arXiv 1910.02054, section 5).
DIVIDES_OPTIMIZER = ("zero1", "zero2", "zero3", "fsdp2")
DIVIDES_GRADIENTS = ("zero2", "zero3", "fsdp2")
DIVIDES_WEIGHTS = ("zero3", "fsdp2")

SUB_GROUP = 10**9  # weights of a group in ZeRO-3 (runtime/zero/config.py, sub_group_size)

# Bytes of states for each byte of a weight, and for each weight whatever its type (bitsandbytes'
# 8-bit blocks of 256 with an fp32 constant each, 4-bit ones of 128).
STATES = {"adamw": 2.0, "sgd": 0.0, "momentum": 1.0, "lion": 1.0, "muon": 1.0}
QUANTISED = {
    "adamw_8bit": 2 * (1 + 4 / 256),
    "paged_adamw_8bit": 0.0,  # managed memory, which the driver moves to the host
    "lion_8bit": 1 + 4 / 256,
    "adamw_4bit": 2 * (0.5 + 4 / 128),
    "adafactor": 0.01,  # a row and a column of each matrix (arXiv 1804.04235)
}
GALORE_RANK = 128  # arXiv 2403.03507, section 5: a quarter of the width of a 60M model


def divided(load: Load, by: tuple[str, ...]) -> int:
    """Over how many devices a state is spread."""
    return load.devices if load.sharding in by else 1


def weight_bytes(load: Load) -> float:
    """Weights at rest on the device, those of adapters and chosen experts included."""
    if load.offload == "all":
        return 0.0
    shards = divided(load, DIVIDES_WEIGHTS)
    return (base_bytes(load) + beside_bytes(load)) / shards


def base_bytes(load: Load) -> float:
    """The model's own weights: linear layers of few bits for qlora, the rest as it is held."""
    a = load.architecture
    if load.weights != "qlora":
        return float(load.rest * count(a))
    rest = 4 if load.stack.upcast else load.width
    linear = few_bits(load)
    return load.held * linear + rest * (count(a) - linear)


def few_bits(load: Load) -> int:
    """Weights that qlora holds in few bits: those of linear layers inside blocks."""
    a = load.architecture
    return linear_count(a) + (routed_count(a) if load.stack.expert_linears else 0)


def beside_bytes(load: Load) -> float:
    """What trains beside the model's own weights."""
    return 0.0 if load.owns else float(trained_width(load) * trainable(load))


def trained_width(load: Load) -> int:
    """Bytes of a weight that trains: adapters and chosen experts are fp32 beside any base."""
    return load.rest if load.owns else load.stack.adapter


def gradient_bytes(load: Load) -> float:
    """In the type of what trains."""
    if load.offload != "none" and load.flat:
        return 0.0  # DeepSpeed moves them to the host as they come
    if load.offload == "all":
        return 0.0
    return trained_width(load) * reached(load) / divided(load, DIVIDES_GRADIENTS)


def optimizer_bytes(load: Load) -> float:
    """States of the optimizer on the device."""
    return 0.0 if load.offload != "none" else states(load)


def states(load: Load) -> float:
    """States wherever they lie. DeepSpeed's hold fp32 masters of all that trains, beside weights
    that are fp32, too (runtime/zero/stage_1_and_2.py and stage3.py: `clone`)."""
    number = reached(load) / divided(load, DIVIDES_OPTIMIZER)
    width = 4 if load.halved else trained_width(load)
    return number * (_each(load, width) + (4 if load.flat else 0))


def stepping_bytes(load: Load) -> float:
    """Gradients while the optimizer steps, and what is made of them.

    DeepSpeed lets those of other devices go, makes its own flat, and turns them into fp32; in its
    third stage one group of weights after the other.
    """
    whole = gradient_bytes(load)
    if not load.flat or not whole:
        return whole * (2 if load.stack.foreach else 1)
    own, width = reached(load) / divided(load, DIVIDES_OPTIMIZER), trained_width(load)
    made = min(own, SUB_GROUP) if load.sharding == "zero3" else own
    return width * own + (width + (4 if load.halved else 0)) * made


def _each(load: Load, width: int) -> float:
    """Bytes of states a weight."""
    if load.optimizer in QUANTISED:
        return QUANTISED[load.optimizer]
    if load.optimizer == "galore":
        return 2.0 * width * min(1.0, GALORE_RANK / load.architecture.hidden)
    return STATES[load.optimizer] * width


def bucket_bytes(load: Load) -> float:
    """Buffers that gradients and weights pass through; DeepSpeed has them on one device, too."""
    if load.flat:
        buckets = 2 if load.sharding == "zero3" else load.stack.zero_buckets
        return buckets * trained_width(load) * float(load.stack.zero_bucket)
    if load.devices > 1 and load.sharding == "ddp" and not load.stack.bucket_view:
        return trained_width(load) * float(trainable(load))
    return 0.0


def host_bytes(load: Load) -> float:
    """One device's part of what waits in the memory of its machine."""
    if load.offload == "none":
        return 0.0
    number = trainable(load) / divided(load, DIVIDES_OPTIMIZER)
    moved = states(load) + 4 * number  # and gradients in fp32
    if load.offload == "optimizer":
        return moved
    return moved + (base_bytes(load) + beside_bytes(load)) / divided(load, DIVIDES_WEIGHTS)
