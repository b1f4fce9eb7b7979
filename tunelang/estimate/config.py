"""A Hugging Face config.json -> the architecture that counts and estimates are taken from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tunelang.estimate.architecture import Architecture, Experts, Latent

DENSE = ("llama", "mistral", "qwen2", "qwen3")
MIXTURES = ("mixtral", "qwen2_moe", "qwen3_moe", "olmoe", "deepseek_v2", "deepseek_v3")
# Qwen 2 and 2 MoE: biases on q, k and v. Qwen 3 and 3 MoE: norms of each head's q and k.
QKV = ("q_proj", "k_proj", "v_proj")
BIASED, NORMED = ("qwen2", "qwen2_moe"), ("qwen3", "qwen3_moe")


def from_config(config: Mapping[str, Any], name: str) -> Architecture | None:
    """The architecture of a config.json; None for families not known, and for mixtures whose
    blocks alternate."""
    kind = config.get("model_type")
    if kind not in (*DENSE, *MIXTURES):
        return None
    try:
        return _known(config, str(kind), name)
    except (KeyError, TypeError, ValueError):
        return None  # a config.json that leaves out what its family needs


def _known(config: Mapping[str, Any], kind: str, name: str) -> Architecture | None:
    mixture = experts_of(config) if kind in MIXTURES else None
    if kind in MIXTURES and mixture is None:
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
        family=kind,
        biases=QKV if kind in BIASED and bool(config.get("qkv_bias", True)) else (),
        qk_norm=kind in NORMED,
        whole_norm=kind == "olmoe",
        experts=mixture,
        latent=latent_of(config) if kind.startswith("deepseek") else None,
    )


def experts_of(config: Mapping[str, Any]) -> Experts | None:
    """The routed experts of a mixture; None where dense blocks stand between those with experts."""
    kind = str(config["model_type"])
    layers = int(config["num_hidden_layers"])
    first = int(config.get("first_k_dense_replace") or 0)
    alternates = int(config.get("decoder_sparse_step") or 1) > 1
    if alternates or sorted(config.get("mlp_only_layers") or []) not in ([], [*range(first)]):
        return None
    ffn = int(config.get("moe_intermediate_size") or config["intermediate_size"])
    named = (config.get(n) for n in ("num_local_experts", "num_experts", "n_routed_experts"))
    return Experts(
        count=next((int(number) for number in named if number), 0),
        active=int(config["num_experts_per_tok"]),
        ffn=ffn,
        layers=layers - first,
        shared=_shared(config, ffn),
        shared_gate=kind == "qwen2_moe",
    )


def _shared(config: Mapping[str, Any], ffn: int) -> int:
    if config["model_type"] == "qwen2_moe":
        return int(config["shared_expert_intermediate_size"])
    return int(config.get("n_shared_experts") or 0) * ffn


def latent_of(config: Mapping[str, Any]) -> Latent:
    """The widths of DeepSeek's attention."""
    rank = config.get("q_lora_rank")
    return Latent(
        query_rank=int(rank) if rank else None,
        kv_rank=int(config["kv_lora_rank"]),
        plain=int(config["qk_nope_head_dim"]),
        rotated=int(config["qk_rope_head_dim"]),
        value=int(config["v_head_dim"]),
    )
