"""One micro-batch on one device, as memory is predicted for it: what trains, how, on how many."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from tunelang.catalog import stacks
from tunelang.catalog.stacks import Stack
from tunelang.estimate.architecture import Architecture
from tunelang.estimate.parameters import Targets, chosen, lora_count, selected_count
from tunelang.estimate.sizes import block_count, count, embedding_count

NF4 = 0.5 + 1 / 64 + 4 / 16384  # bytes a weight, double quantised (QLoRA, arXiv 2305.14314)
SINGLE = 0.5 + 4 / 64  # one fp32 constant for each block of 64 weights
INT8 = 1.0  # and one fp32 scale a row, which is nothing beside it (arXiv 2208.07339)

OURS = stacks.find(stacks.OURS)

Sharding = Literal["none", "ddp", "zero1", "zero2", "zero3", "fsdp2"]
Offload = Literal["none", "optimizer", "all"]
Loss = Literal["plain", "chunked", "fused"]

OWN = ("full", "layers", "head")  # kinds that train a model's own weights, which they hold in fp32
ADAPTERS = ("lora", "qlora")


@dataclass(frozen=True)
class Load:
    """What trains, how, and how many tokens at once, on one of `devices` that share the work.

    `weights` is the kind that a recipe writes; `last` layers train where it is `layers`. A sequence
    has `length` tokens (0: all are one). `scored` is the share of positions whose logits are
    computed; 0 for a reward model, which has no head; `headed` where a value head trains beside it.
    `share` of the routed experts of each block trains where weights are `experts`; `held` are bytes
    of a resting weight of a linear layer where they are `qlora`. `width` are those of a weight: 2
    for bf16, 4 for fp32. With `masters` what trains is held in fp32 beside computation in bf16.
    `stack` says whose code runs: this project's worker, or another's that published measurements
    are of.
    """

    architecture: Architecture
    weights: str  # full, lora, qlora, ia3, layers, head, experts
    tokens: int
    length: int = 0
    rank: int = 0
    targets: Targets = "all_linear"
    dora: bool = False
    last: int = 0
    checkpointing: bool = False
    accumulates: bool = False
    width: int = 2
    masters: bool = False
    optimizer: str = "adamw"
    loss: Loss = "plain"
    keeps_logits: bool = False
    sharding: Sharding = "none"
    devices: int = 1
    offload: Offload = "none"
    scored: float = 1.0
    headed: bool = False
    share: float = 0.0
    held: float = NF4
    stack: Stack = OURS

    @property
    def owns(self) -> bool:
        """Do weights of the model itself train (and not what lies beside them)?"""
        return self.weights in OWN

    @property
    def rest(self) -> int:
        """Bytes of a weight at rest. DeepSpeed keeps its masters apart, in the optimizer."""
        if self.width == 4 or (self.owns and self.masters and not self.halved):
            return 4
        return 2

    @property
    def flat(self) -> bool:
        """Does DeepSpeed hold what trains, in flat buffers?"""
        return self.sharding.startswith("zero")

    @property
    def buffered(self) -> bool:
        """Is there room for gradients on the device before any are? DeepSpeed's third stage keeps a
        buffer of them from the start (runtime/zero/stage3.py, grad_partitions_flat_buffer)."""
        return self.accumulates or self.sharding == "zero3"

    @property
    def halved(self) -> bool:
        """Does DeepSpeed compute with bf16 weights, fp32 masters being in the optimizer? Not where
        a head is read in fp32 (plan/engine_config.py, halved)."""
        headed = self.headed or not self.scored
        return self.flat and self.weights == "full" and self.width == 2 and not headed

    @property
    def wide(self) -> int:
        """Bytes of an element of the hidden states between layers: those of the embedding."""
        if self.gathers:
            return self.width  # mixed precision casts what a layer is given
        upcast = self.stack.upcast and self.weights == "qlora"
        return 4 if self.rest == 4 or upcast else 2

    @property
    def casts(self) -> bool:
        """Is there a bf16 copy of each fp32 weight while it is used (autocast)?"""
        return self.stack.autocast and self.width == 2 and self.rest == 4 and not self.gathers

    @property
    def gathers(self) -> bool:
        """Are fp32 shards gathered in bf16 (FSDP's mixed precision)?"""
        return self.sharded and self.sharding == "fsdp2"

    @property
    def sharded(self) -> bool:
        """Is a layer's weight gathered for its own pass: from other devices, or from the host?"""
        apart = self.devices > 1 or self.offload == "all"
        return apart and self.sharding in ("zero3", "fsdp2")


def trainable(load: Load) -> int:
    """Parameters that train."""
    adapter = (load.rank, load.targets, load.dora)
    return _trainable(load.architecture, load.weights, adapter, (load.last, load.share))


@lru_cache(maxsize=1024)  # a fit asks for the same some thousand times
def _trainable(
    a: Architecture, weights: str, adapter: tuple[int, Targets, bool], part: tuple[int, float]
) -> int:
    if weights == "full":
        return count(a)
    if weights == "layers":
        return block_count(a) * min(part[0] or a.layers, a.layers) // a.layers
    if weights == "head":
        return embedding_count(a) // (1 if a.tied else 2)
    if weights == "ia3":
        return a.layers * (2 * a.kv + a.inner)
    if weights == "experts":
        return selected_count(a, part[1])
    rank, targets, dora = adapter
    lengths = sum(out for _, out in chosen(a, targets).values()) if dora else 0
    return lora_count(a, rank, targets) + a.layers * lengths


def reached(load: Load) -> int:
    """Parameters that get gradients: nothing reads the output layer of a model that only scores.

    DeepSpeed has states for them all the same.
    """
    a = load.architecture
    unread = load.weights == "full" and not load.scored and not a.tied and not load.flat
    return trainable(load) - (a.vocab * a.hidden if unread else 0)
