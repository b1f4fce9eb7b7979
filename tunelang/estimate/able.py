"""What workers can share between processes: by method and by what trains.

The one table of it; everything else runs in one process. Full tuning and LoRA stand here because
two processes were run against one (tests/integration): sft, reward_modeling, dpo, kto and the
policies; the others of `METHODS` go through the same loops. QLoRA was so run by hand, for
instruction_tuning in fp32. Nothing of `OFFLOADS` was run: that takes a GPU.
"""

from __future__ import annotations

from collections.abc import Mapping

from tunelang.estimate.load import Offload, Sharding

# In the order of preference: the least that is moved between devices comes first. FSDP2 before
# ZeRO-3, whose buckets cost memory of their own (planner notes, section 3).
EVERY: tuple[Sharding, ...] = ("ddp", "zero1", "zero2", "fsdp2", "zero3")
REPLICATED: tuple[Sharding, ...] = ("ddp", "zero1", "zero2")

METHODS: Mapping[str, tuple[Sharding, ...]] = {
    **dict.fromkeys(("sft", "instruction_tuning", "domain_adaptation", "multi_task"), EVERY),
    **dict.fromkeys(("reward_modeling", "comparative_ranking"), EVERY),
    **dict.fromkeys(("dpo", "ipo", "simpo", "orpo", "kto"), EVERY),
    **dict.fromkeys(("ppo", "grpo", "rloo"), EVERY),
}
# 4-bit weights are no floating-point numbers that could be cut into shards.
KINDS: Mapping[str, tuple[Sharding, ...]] = {"full": EVERY, "lora": EVERY, "qlora": REPLICATED}
# Two adapters over one base have an optimizer each, and a DeepSpeed engine has one for all weights
# of a model (train/engines/zero.py).
PAIRS: Mapping[tuple[str, str], tuple[Sharding, ...]] = {
    ("ppo", "lora"): ("ddp", "fsdp2"),
    ("ppo", "qlora"): ("ddp",),
}

# Whose loss can be taken over all logits of a micro-batch at once (train/sft.py).
AT_ONCE = ("sft", "instruction_tuning", "domain_adaptation", "multi_task", "esft")

# What can wait in the memory beside the GPUs, from the least to the most.
OFFLOADS: Mapping[Sharding, tuple[Offload, ...]] = {
    "zero1": ("none", "optimizer"),
    "zero2": ("none", "optimizer"),
    "zero3": ("none", "optimizer", "all"),
    "fsdp2": ("none", "all"),
}


def shardings(method: str, kind: str) -> tuple[Sharding, ...]:
    """The ways in which several processes can share a stage; none: it runs in one."""
    by_kind = PAIRS.get((method, kind), KINDS.get(kind, ()))
    return tuple(way for way in METHODS.get(method, ()) if way in by_kind)


def offloads(sharding: Sharding) -> tuple[Offload, ...]:
    """What can be moved out of a device under a way of sharding."""
    return OFFLOADS.get(sharding, ("none",))


def alone(method: str, kind: str) -> str:
    """Why a stage runs in one process, for people; the empty string where it need not."""
    if shardings(method, kind):
        return ""
    what = f"`weights = {kind}`" if method in METHODS else f"`{method}`"
    return f"{what} runs in one process in this version"
