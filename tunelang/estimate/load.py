"""One micro-batch on one device, as memory is predicted for it: what trains, how, on how many."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tunelang.catalog import stacks
from tunelang.catalog.stacks import Stack
from tunelang.estimate.parameters import (
    Architecture,
    Targets,
    count,
    lora_count,
    selected_count,
)

NF4 = 0.5 + 1 / 64 + 4 / 16384  # bytes a weight, double quantised (QLoRA, arXiv 2305.14314)
SINGLE = 0.5 + 4 / 64  # one fp32 constant for each block of 64 weights
INT8 = 1.0  # and one fp32 scale a row, which is nothing beside it (arXiv 2208.07339)

OURS = stacks.find(stacks.OURS)

Sharding = Literal["none", "ddp", "zero1", "zero2", "zero3", "fsdp2"]
Offload = Literal["none", "optimizer", "all"]
Loss = Literal["plain", "chunked", "fused"]


@dataclass(frozen=True)
class Load:
    """What trains, how, and how many tokens at once, on one of `devices` that share the work.

    `scored` is the share of positions whose logits are computed; 0 for a reward model, which has
    no head. `share` of the routed experts of each block trains where weights are `experts`; `held`
    are bytes of a resting weight of a linear layer where they are `qlora`. Without `masters` full
    tuning keeps no fp32 weights beside those of the precision, `width` bytes each. `stack` says
    whose code runs: this project's worker, or another's that published measurements are of.
    """

    architecture: Architecture
    weights: str  # full, lora, qlora, layers, experts
    tokens: int
    rank: int = 0
    targets: Targets = "all_linear"
    dora: bool = False
    checkpointing: bool = False
    accumulates: bool = False
    width: int = 2  # bytes of a weight: 2 bf16, 4 fp32
    masters: bool = False
    optimizer: str = "adamw"
    loss: Loss = "plain"
    keeps_logits: bool = False
    foreach: bool = False
    sharding: Sharding = "none"
    devices: int = 1
    offload: Offload = "none"
    scored: float = 1.0
    share: float = 0.0
    held: float = NF4
    stack: Stack = OURS


def trainable(load: Load) -> int:
    """Parameters that train."""
    if load.weights == "full":
        return count(load.architecture)
    if load.weights == "experts":
        return selected_count(load.architecture, load.share)
    return lora_count(load.architecture, load.rank, load.targets)
