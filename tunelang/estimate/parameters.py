"""Exact parameter counts of decoder-only transformers, dense and mixtures. Pure arithmetic."""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil
from typing import Literal

from tunelang.estimate.architecture import Architecture as Architecture
from tunelang.estimate.architecture import Layout, Norm

Targets = Literal["all_linear"] | tuple[str, ...]
Sizes = Mapping[str, tuple[int, int]]
# The name of the output projection of attention, where it is not o_proj.
OUTWARD: Mapping[Layout, str] = {"phi": "dense", "gpt_neox": "dense"}
FUSED: Mapping[Layout, str] = {"phi3": "qkv_proj", "gpt_neox": "query_key_value"}
PLAIN_FFN: Mapping[Layout, tuple[str, str]] = {  # feed-forwards that are not gated
    "phi": ("fc1", "fc2"),
    "starcoder2": ("c_fc", "c_proj"),
    "gpt_neox": ("dense_h_to_4h", "dense_4h_to_h"),
}
# Families whose experts PEFT 0.21 reaches by the names that feed-forwards had, and those names.
MOVES = ("qwen3_moe", "olmoe", "deepseek_v2", "deepseek_v3")
MOVED = ("gate_proj", "up_proj", "down_proj")
VECTORS: Mapping[Norm, int] = {"rms": 1, "gemma": 1, "layer": 2, "plain": 0}  # weight and bias


def linears(a: Architecture) -> dict[str, tuple[int, int]]:
    """The linear layers of one usual block by PEFT name: (in, out).

    A usual block of a mixture has the shared expert's; its routed experts are no linear layers.
    """
    if a.experts is None:
        return dense_linears(a)
    shared = _feed_forward(a, a.experts.shared) if a.experts.shared else {}
    gate = {"shared_expert_gate": (a.hidden, 1)} if a.experts.shared_gate else {}
    return {**_attention(a), **shared, **gate}


def dense_linears(a: Architecture) -> dict[str, tuple[int, int]]:
    """The linear layers of a block without routed experts."""
    return {**_attention(a), **_feed_forward(a, a.ffn)}


def vision_linears(a: Architecture) -> dict[str, tuple[int, int]]:
    """The linear layers of a block of the tower that sees pictures (SigLIP); empty without one."""
    if a.vision is None:
        return {}
    h, f = a.vision.hidden, a.vision.ffn
    square = dict.fromkeys(("q_proj", "k_proj", "v_proj", "out_proj"), (h, h))
    return {**square, "fc1": (h, f), "fc2": (f, h)}


def _feed_forward(a: Architecture, width: int) -> dict[str, tuple[int, int]]:
    if a.layout in PLAIN_FFN:
        inward, outward = PLAIN_FFN[a.layout]
        return {inward: (a.hidden, width), outward: (width, a.hidden)}
    down = {"down_proj": (width, a.hidden)}
    if a.layout == "phi3":
        return {"gate_up_proj": (a.hidden, 2 * width), **down}
    return {"gate_proj": (a.hidden, width), "up_proj": (a.hidden, width), **down}


def _attention(a: Architecture) -> dict[str, tuple[int, int]]:
    if a.latent:
        return _latent(a)
    outward = {OUTWARD.get(a.layout, "o_proj"): (a.query, a.hidden)}
    if a.layout in FUSED:
        return {FUSED[a.layout]: (a.hidden, a.query + 2 * a.kv), **outward}
    inward = {"q_proj": a.query, "k_proj": a.kv, "v_proj": a.kv}
    return {**{name: (a.hidden, width) for name, width in inward.items()}, **outward}


def _latent(a: Architecture) -> dict[str, tuple[int, int]]:
    m = a.latent
    assert m
    whole = {"q_proj": (a.hidden, a.query)}
    if m.query_rank:
        whole = {"q_a_proj": (a.hidden, m.query_rank), "q_b_proj": (m.query_rank, a.query)}
    return {
        **whole,
        "kv_a_proj_with_mqa": (a.hidden, m.kv_rank + m.rotated),
        "kv_b_proj": (m.kv_rank, a.heads * (m.plain + m.value)),
        "o_proj": (a.heads * m.value, a.hidden),
    }


def expert_count(a: Architecture) -> int:
    """Weights of one routed expert."""
    return 3 * a.hidden * a.experts.ffn if a.experts else 0


def routed_count(a: Architecture) -> int:
    """Weights of all routed experts of all blocks."""
    return a.experts.layers * a.experts.count * expert_count(a) if a.experts else 0


def selected_count(a: Architecture, share: float) -> int:
    """Weights of the routed experts that train where `share` of those of each block does."""
    if a.experts is None:
        return 0
    return a.experts.layers * ceil(share * a.experts.count) * expert_count(a)


def active_count(a: Architecture) -> int:
    """Parameters that one token meets: all but the experts it is not sent to, and no picture's."""
    seen = count(a) - vision_count(a)
    if a.experts is None:
        return seen
    return seen - a.experts.layers * (a.experts.count - a.experts.active) * expert_count(a)


def linear_count(a: Architecture) -> int:
    """Weights of all linear layers inside blocks: what NF4 quantises. No routed expert is one."""
    tower = a.vision.layers * _size(vision_linears(a)) if a.vision else 0
    return _blocks(a, _size(linears(a)), _size(dense_linears(a))) + tower


def _blocks(a: Architecture, usual: int, dense: int) -> int:
    """The sum over all blocks of what usual and dense ones have."""
    return (a.layers - a.dense) * usual + a.dense * dense


def _size(layers: Sizes) -> int:
    return sum(i * o for i, o in layers.values())


def block_count(a: Architecture) -> int:
    """Parameters of all blocks of the decoder: norms, biases, routers and experts included."""
    usual, dense = linears(a), dense_linears(a)
    weights = _blocks(a, _size(usual), _size(dense))
    biases = _blocks(a, _bias(a, usual), _bias(a, dense))
    routers = a.experts.layers * a.experts.count * a.hidden if a.experts else 0
    norms = a.layers * (a.norms * norm_size(a) + _norms(a))
    return weights + biases + norms + routers + routed_count(a)


def _bias(a: Architecture, layers: Sizes) -> int:
    return sum(out for name, (_, out) in layers.items() if name in a.biases)


def norm_size(a: Architecture) -> int:
    """Parameters of a norm that is `hidden` wide."""
    return VECTORS[a.norm] * a.hidden


def _norms(a: Architecture) -> int:
    """Parameters of the norms inside attention."""
    if a.latent:
        return a.latent.kv_rank + (a.latent.query_rank or 0)
    if a.whole_norm:
        return a.query + a.kv
    return 2 * VECTORS[a.norm] * a.head_dim if a.qk_norm else 0


def embedding_count(a: Architecture) -> int:
    """Embedding and head; one matrix when tied."""
    return a.vocab * a.hidden * (1 if a.tied else 2)


def vision_count(a: Architecture) -> int:
    """Parameters of the tower that sees pictures and of what leads from it into the decoder."""
    if a.vision is None:
        return 0
    v, layers = a.vision, vision_linears(a)
    block = _size(layers) + sum(out for _, out in layers.values()) + 2 * 2 * v.hidden
    patches = v.hidden * (v.channels * v.patch**2 + 1) + (v.image // v.patch) ** 2 * v.hidden
    return v.layers * block + patches + 2 * v.hidden + v.hidden * (a.hidden + 1)


def count(a: Architecture) -> int:
    """Every parameter of the model."""
    outside = norm_size(a) + (a.vocab if a.head_bias else 0) + vision_count(a)
    return block_count(a) + embedding_count(a) + outside


def chosen(a: Architecture, targets: Targets) -> dict[str, tuple[int, int]]:
    """The linear layers of a usual block that get an adapter."""
    return _wanted(a, linears(a), targets)


def _wanted(a: Architecture, layers: Sizes, targets: Targets) -> dict[str, tuple[int, int]]:
    """Those that are named, but for the ones whose adapters PEFT moves to the experts."""
    moved = MOVED if a.family in MOVES else ()
    named = layers if targets == "all_linear" else targets
    return {n: size for n, size in layers.items() if n in named and n not in moved}


def fused(a: Architecture) -> tuple[str, str] | None:
    """Two layers that PEFT takes together only, since experts hold them as one matrix."""
    return MOVED[:2] if a.family in MOVES else None


def lora_count(a: Architecture, rank: int, targets: Targets) -> int:
    """Parameters of A [rank, in] and B [out, rank] over every chosen layer (Hu et al. 2021).

    `all_linear` reaches routed experts too, each with matrices of its own; gate and up projection
    are one matrix there (train/targets.py). Where PEFT moves adapters from the names of
    feed-forwards to the experts, that matrix gets twice the rank, and dense and shared
    feed-forwards get none (peft/utils/transformers_weight_conversion.py of 0.21).
    """
    usual = _adapters(chosen(a, targets), rank)
    dense = _adapters(_wanted(a, dense_linears(a), targets), rank)
    tower = _adapters(_wanted(a, vision_linears(a), targets), rank)
    experts = a.experts.count * _expert_adapters(a, rank, targets) if a.experts else 0
    return _blocks(a, usual + experts, dense) + (a.vision.layers * tower if a.vision else 0)


def _expert_adapters(a: Architecture, rank: int, targets: Targets) -> int:
    """Of one routed expert: on the matrix of gate and up projection, and on the one down."""
    assert a.experts
    inward = down = int(targets == "all_linear")
    moved = _moved(a, targets)
    inward = 2 if {*MOVED[:2]} <= moved else inward
    down = 1 if MOVED[2] in moved else down
    wide = a.hidden + 2 * a.experts.ffn
    return rank * (inward * wide + down * (a.experts.ffn + a.hidden))


def _moved(a: Architecture, targets: Targets) -> set[str]:
    """The names of feed-forwards that PEFT takes for the experts."""
    if a.family not in MOVES:
        return set()
    dense = dense_linears(a) if a.dense else {}
    return {*MOVED} & ({*linears(a), *dense} if targets == "all_linear" else {*targets})


def _adapters(layers: Sizes, rank: int) -> int:
    return sum(rank * (i + o) for i, o in layers.values())
