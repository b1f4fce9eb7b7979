"""A Hugging Face config.json -> the architecture that counts and estimates are taken from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tunelang.estimate.architecture import Architecture, Experts, Latent, Vision
from tunelang.estimate.families import FAMILIES, Family

MIXTURES = ("mixtral", "qwen2_moe", "qwen3_moe", "olmoe", "deepseek_v2", "deepseek_v3")
VISION = {"gemma3": "gemma3_text"}  # loaded with a tower; what its text_config is


def from_config(config: Mapping[str, Any], name: str) -> Architecture | None:
    """The architecture of a config.json; None for families not known, and for mixtures whose
    blocks alternate."""
    kind = str(config.get("model_type"))
    try:
        if kind in VISION:
            return _with_tower(config, kind, name)
        return _known(config, kind, name) if kind in FAMILIES else None
    except (KeyError, TypeError, ValueError):
        return None  # a config.json that leaves out what its family needs


def families() -> tuple[str, ...]:
    """The `model_type` of every family that is counted."""
    return (*FAMILIES, *VISION)


def _with_tower(config: Mapping[str, Any], kind: str, name: str) -> Architecture | None:
    """A decoder that is loaded with the tower that sees pictures."""
    text = _known({**config["text_config"]}, VISION[kind], name)
    tower = config["vision_config"]
    seen = Vision(
        hidden=int(tower["hidden_size"]),
        layers=int(tower["num_hidden_layers"]),
        ffn=int(tower["intermediate_size"]),
        image=int(tower["image_size"]),
        patch=int(tower["patch_size"]),
        channels=int(tower.get("num_channels", 3)),
    )
    return replace(text, family=kind, vision=seen) if text else None


def _known(written: Mapping[str, Any], kind: str, name: str) -> Architecture | None:
    family = FAMILIES[kind]
    config = {**family.defaults, **written}
    mixture = experts_of(config, kind) if kind in MIXTURES else None
    if kind in MIXTURES and mixture is None:
        return None
    heads, hidden = int(config["num_attention_heads"]), int(config["hidden_size"])
    plain = Architecture(
        name=name,
        hidden=hidden,
        layers=int(config["num_hidden_layers"]),
        heads=heads,
        kv_heads=int(config.get("num_key_value_heads") or heads),
        head_dim=int(config.get("head_dim") or hidden // heads),
        ffn=int(config["intermediate_size"]),
        vocab=int(config["vocab_size"]),
        positions=int(config.get("max_position_embeddings") or 0),
        tied=bool(config["tie_word_embeddings"]),
        family=kind,
        layout=family.layout,
        biases=_biases(config, family),
        head_bias=family.head_bias,
        experts=mixture,
        latent=latent_of(config) if kind.startswith("deepseek") else None,
    )
    return _finished(plain, config, family)


def _biases(config: Mapping[str, Any], family: Family) -> tuple[str, ...]:
    return tuple(
        name for switch, names in family.biases if not switch or config[switch] for name in names
    )


def _finished(plain: Architecture, config: Mapping[str, Any], family: Family) -> Architecture:
    """With norms, activations, scales and windows."""
    parallel = plain.layout == "phi" or bool(config.get("use_parallel_residual"))
    heads_normed = bool(config.get("qk_layernorm"))
    lasting, windowed = window_of(config, family, plain.layers)
    return replace(
        plain,
        norm=family.norm,
        norms=1 if parallel and plain.layout == "llama" else family.norms,
        qk_norm=family.qk_norm or (heads_normed and plain.family == "phi"),
        whole_norm=family.whole_norm or (heads_normed and plain.family == "stablelm"),
        gated=plain.layout in ("llama", "phi3"),
        activation=str(config.get("hidden_activation") or config["hidden_act"]),
        parallel=parallel,
        softcap=bool(config.get("final_logit_softcapping")),
        attention_softcap=bool(config.get("attn_logit_softcapping")),
        scaled_logits=plain.family == "granite",
        scaled_embedding=family.scaled_embedding,
        scaled_residual=plain.family == "granite",
        rotary=_rotary(config),
        window=lasting,
        windowed=windowed,
    )


def _rotary(config: Mapping[str, Any]) -> float:
    """The share of a head that is rotated; GPT-NeoX calls it `rotary_pct`."""
    inner = config.get("rope_parameters") or {}
    named = inner.get("partial_rotary_factor") if isinstance(inner, Mapping) else None
    return float(named or config.get("rotary_pct") or config.get("partial_rotary_factor") or 1.0)


def window_of(config: Mapping[str, Any], family: Family, layers: int) -> tuple[int, int]:
    """How many tokens windowed layers see, and how many layers those are."""
    width = int(config.get("sliding_window") or 0)
    if not width or not config.get("use_sliding_window", True) or family.windowed is None:
        return 0, 0
    kinds = config.get("layer_types")
    if kinds:
        count = sum(kind == "sliding_attention" for kind in kinds)
    else:
        count = sum(family.windowed(layer, config) for layer in range(layers))
    return (width, count) if count else (0, 0)


def experts_of(config: Mapping[str, Any], kind: str) -> Experts | None:
    """The routed experts of a mixture; None where dense blocks stand between those with experts."""
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
        shared=_shared(config, kind, ffn),
        shared_gate=kind == "qwen2_moe",
    )


def _shared(config: Mapping[str, Any], kind: str, ffn: int) -> int:
    if kind == "qwen2_moe":
        return int(config["shared_expert_intermediate_size"])
    return int(config.get("n_shared_experts") or 0) * ffn


def latent_of(config: Mapping[str, Any]) -> Latent:
    """The widths of DeepSeek's attention."""
    rank = config["q_lora_rank"]
    return Latent(
        query_rank=int(rank) if rank else None,
        kv_rank=int(config["kv_lora_rank"]),
        plain=int(config["qk_nope_head_dim"]),
        rotated=int(config["qk_rope_head_dim"]),
        value=int(config["v_head_dim"]),
    )
