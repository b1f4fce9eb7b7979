"""How a step lies on its devices: what memory and time both depend on beside the work itself."""

from __future__ import annotations

from dataclasses import dataclass

from tunelang.estimate.load import Loss, Offload, Sharding


@dataclass(frozen=True)
class Layout:
    """`micro` x `accumulate` x `devices` rows are one update; `devices` are those of all `nodes`.

    `devices` counts the processes that share a batch: one a GPU, or gloo processes on a CPU.
    """

    micro: int
    accumulate: int = 1
    devices: int = 1
    nodes: int = 1
    sharding: Sharding = "none"
    offload: Offload = "none"
    checkpointing: bool = False
    loss: Loss = "plain"
    optimizer: str = "adamw"
