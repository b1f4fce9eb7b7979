"""Architectures and exact parameter counts of decoder-only transformers. Pure arithmetic."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Targets = Literal["all_linear"] | tuple[str, ...]


@dataclass(frozen=True)
class Architecture:
    """A dense Llama-like decoder. Widths in elements; `ffn` is one gated feed-forward matrix."""

    name: str
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    ffn: int
    vocab: int
    positions: int
    tied: bool
    bias: bool = False  # on q, k and v, as Qwen 2 has
    qk_norm: bool = False  # as Qwen 3 has

    @property
    def query(self) -> int:
        return self.heads * self.head_dim

    @property
    def kv(self) -> int:
        return self.kv_heads * self.head_dim


def linears(a: Architecture) -> dict[str, tuple[int, int]]:
    """The linear layers of one block by PEFT name: (in, out)."""
    return {
        "q_proj": (a.hidden, a.query),
        "k_proj": (a.hidden, a.kv),
        "v_proj": (a.hidden, a.kv),
        "o_proj": (a.query, a.hidden),
        "gate_proj": (a.hidden, a.ffn),
        "up_proj": (a.hidden, a.ffn),
        "down_proj": (a.ffn, a.hidden),
    }


def linear_count(a: Architecture) -> int:
    """Weights of all linear layers inside blocks: what NF4 quantises."""
    return a.layers * sum(i * o for i, o in linears(a).values())


def layer_count(a: Architecture) -> int:
    """Parameters of one block, norms and biases included."""
    norms = 2 * a.hidden + (2 * a.head_dim if a.qk_norm else 0)
    biases = (a.query + 2 * a.kv) if a.bias else 0
    return sum(i * o for i, o in linears(a).values()) + norms + biases


def embedding_count(a: Architecture) -> int:
    """Embedding and head; one matrix when tied."""
    return a.vocab * a.hidden * (1 if a.tied else 2)


def count(a: Architecture) -> int:
    """Every parameter of the model."""
    return a.layers * layer_count(a) + embedding_count(a) + a.hidden


def chosen(a: Architecture, targets: Targets) -> dict[str, tuple[int, int]]:
    """The linear layers of a block that get an adapter."""
    return {
        name: size
        for name, size in linears(a).items()
        if targets == "all_linear" or name in targets
    }


def lora_count(a: Architecture, rank: int, targets: Targets) -> int:
    """Parameters of A [rank, in] and B [out, rank] over every chosen layer (Hu et al. 2021)."""
    return a.layers * sum(rank * (i + o) for i, o in chosen(a, targets).values())


def from_config(config: Mapping[str, Any], name: str) -> Architecture | None:
    """The architecture that a Hugging Face config.json describes; None for families not known."""
    kind = config.get("model_type")
    if kind not in ("llama", "mistral", "qwen2", "qwen3"):
        return None
    heads = int(config["num_attention_heads"])
    hidden = int(config["hidden_size"])
    return Architecture(
        name=name,
        hidden=hidden,
        layers=int(config["num_hidden_layers"]),
        heads=heads,
        kv_heads=int(config.get("num_key_value_heads") or heads),
        head_dim=int(config.get("head_dim") or hidden // heads),
        ffn=int(config["intermediate_size"]),
        vocab=int(config["vocab_size"]),
        positions=int(config.get("max_position_embeddings") or 0),
        tied=bool(config.get("tie_word_embeddings", False)),
        bias=kind == "qwen2",
        qk_norm=kind == "qwen3",
    )
