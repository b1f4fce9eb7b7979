"""Exact parameter counts of decoder-only transformers, dense and mixtures. Pure arithmetic."""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil
from typing import Literal

from tunelang.estimate.architecture import Architecture as Architecture

Targets = Literal["all_linear"] | tuple[str, ...]


def linears(a: Architecture) -> dict[str, tuple[int, int]]:
    """The linear layers of one usual block by PEFT name: (in, out).

    A usual block of a mixture has the shared expert's; its routed experts are no linear layers.
    """
    if a.experts is None:
        return dense_linears(a)
    shared = _feed_forward(a.hidden, a.experts.shared) if a.experts.shared else {}
    gate = {"shared_expert_gate": (a.hidden, 1)} if a.experts.shared_gate else {}
    return {**_attention(a), **shared, **gate}


def dense_linears(a: Architecture) -> dict[str, tuple[int, int]]:
    """The linear layers of a block without routed experts."""
    return {**_attention(a), **_feed_forward(a.hidden, a.ffn)}


def _feed_forward(hidden: int, width: int) -> dict[str, tuple[int, int]]:
    return {
        "gate_proj": (hidden, width),
        "up_proj": (hidden, width),
        "down_proj": (width, hidden),
    }


def _attention(a: Architecture) -> dict[str, tuple[int, int]]:
    if a.latent is None:
        return {
            "q_proj": (a.hidden, a.query),
            "k_proj": (a.hidden, a.kv),
            "v_proj": (a.hidden, a.kv),
            "o_proj": (a.query, a.hidden),
        }
    m = a.latent
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
    """Parameters that one token meets: all but the experts it is not sent to."""
    if a.experts is None:
        return count(a)
    idle = a.experts.layers * (a.experts.count - a.experts.active) * expert_count(a)
    return count(a) - idle


def linear_count(a: Architecture) -> int:
    """Weights of all linear layers inside blocks: what NF4 quantises. No routed expert is one."""
    return (a.layers - a.dense) * _size(linears(a)) + a.dense * _size(dense_linears(a))


def _size(layers: Mapping[str, tuple[int, int]]) -> int:
    return sum(i * o for i, o in layers.values())


def block_count(a: Architecture) -> int:
    """Parameters of all blocks, norms, biases, routers and experts included."""
    biases = sum(out for name, (_, out) in linears(a).items() if name in a.biases)
    routers = a.experts.layers * a.experts.count * a.hidden if a.experts else 0
    beside = a.layers * (2 * a.hidden + _norms(a) + biases)
    return linear_count(a) + beside + routers + routed_count(a)


def _norms(a: Architecture) -> int:
    """Weights of the norms inside attention."""
    if a.latent:
        return a.latent.kv_rank + (a.latent.query_rank or 0)
    if a.whole_norm:
        return a.query + a.kv
    return 2 * a.head_dim if a.qk_norm else 0


def embedding_count(a: Architecture) -> int:
    """Embedding and head; one matrix when tied."""
    return a.vocab * a.hidden * (1 if a.tied else 2)


def count(a: Architecture) -> int:
    """Every parameter of the model."""
    return block_count(a) + embedding_count(a) + a.hidden


def chosen(a: Architecture, targets: Targets) -> dict[str, tuple[int, int]]:
    """The linear layers of a block that get an adapter."""
    return _wanted(linears(a), targets)


def _wanted(layers: Mapping[str, tuple[int, int]], targets: Targets) -> dict[str, tuple[int, int]]:
    return {
        name: size for name, size in layers.items() if targets == "all_linear" or name in targets
    }


def lora_count(a: Architecture, rank: int, targets: Targets) -> int:
    """Parameters of A [rank, in] and B [out, rank] over every chosen layer (Hu et al. 2021).

    `all_linear` reaches routed experts too, each with matrices of its own; gate and up projection
    are one matrix there (train/targets.py). PEFT 0.21 leaves out the dense and shared
    feed-forwards of DeepSeek: for these the count is what it would be.
    """
    usual = _adapters(chosen(a, targets), rank)
    dense = _adapters(_wanted(dense_linears(a), targets), rank)
    routed = 0
    if a.experts and targets == "all_linear":
        inward, outward = a.hidden + 2 * a.experts.ffn, a.experts.ffn + a.hidden
        routed = a.experts.count * rank * (inward + outward)
    return (a.layers - a.dense) * (usual + routed) + a.dense * dense


def _adapters(layers: Mapping[str, tuple[int, int]], rank: int) -> int:
    return sum(rank * (i + o) for i, o in layers.values())
