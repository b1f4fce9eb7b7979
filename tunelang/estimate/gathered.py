"""What sharded weights cost beside their shards, phase by phase: whole weights that are there for a
while, whole gradients, and what the first FSDP holds back of frozen layers."""

from __future__ import annotations

from tunelang.estimate.load import Load
from tunelang.estimate.sizes import block_count, embedding_count
from tunelang.estimate.states import few_bits

# Two layers: the one in hand and the next, which is fetched meanwhile. The first FSDP has one where
# it recomputes: with that, runs of Mistral-7B and Llama-3-8B on 2 and 4 GPUs are exact to 0.03 GiB.
LAYERS = {1: 1, 2: 2}


def gathered(load: Load) -> dict[str, float]:
    """Bytes by phase; phases that are not named have none, and so has the optimizer's step."""
    if not load.sharded:
        return {}
    root, layer = root_bytes(load), layer_bytes(load)
    most = min(LAYERS[load.stack.fsdp] * layer, _live(load))
    before = dict.fromkeys(("forward", "loss", "head", "norm"), root)
    held = held_back(load)
    return {**before, "last layer": root + most, "first layer": root + layer + held, "end": root}


def _live(load: Load) -> float:
    """What ZeRO-3 lets be whole at once."""
    if load.sharding != "zero3":
        return float("inf")
    return load.width * float(load.stack.zero_live)


def root_bytes(load: Load) -> float:
    """Embedding and output layer, where they stay whole through the step; ZeRO-3's output layer."""
    whole = embedding_count(load.architecture)
    if load.sharding == "zero3":
        return load.rest * float(whole // (1 if load.architecture.tied else 2))
    width = load.rest if load.stack.fsdp == 2 else load.width
    return float(width * whole) if load.stack.fsdp_root else 0.0


def layer_bytes(load: Load) -> float:
    """One layer as it is gathered: in the step's precision, or in its few bits."""
    a = load.architecture
    if load.weights == "qlora":
        return load.held * few_bits(load) / a.layers
    width = load.rest if load.sharding == "zero3" else load.width
    return width * block_count(a) / a.layers


def held_back(load: Load) -> float:
    """FSDP 1 over frozen weights: a layer's hooks hold its input and its input's gradient until the
    backward pass has ended, but for two layers' (planner notes, section 3: measured)."""
    if load.stack.fsdp != 1 or load.sharding != "fsdp2" or load.owns or not load.checkpointing:
        return 0.0
    state = float(load.wide * load.architecture.hidden * load.tokens)
    layers = load.architecture.layers
    return layers * state + (layers - 3) * state  # the gradient in hand is counted already
