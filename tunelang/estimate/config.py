"""A Hugging Face config.json -> the architecture that counts and estimates are taken from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tunelang.estimate.architecture import Architecture, Experts, Latent, Vision
from tunelang.estimate.families import FAMILIES, Family
from tunelang.estimate.numbers import MOST_LAYERS, given, share, size

MIXTURES = ("mixtral", "qwen2_moe", "qwen3_moe", "olmoe", "deepseek_v2", "deepseek_v3")
COUNTS = ("num_local_experts", "num_experts", "n_routed_experts")  # what families call theirs
VISION = {"gemma3": "gemma3_text"}  # loaded with a tower; what its text_config is


def from_config(config: Mapping[str, Any], name: str) -> Architecture | None:
    """The architecture of a config.json; None for families not known, for mixtures whose blocks
    alternate, and where a number that its family needs is missing or cannot be."""
    kind = str(config.get("model_type"))
    try:
        if kind in VISION:
            return _with_tower(config, kind, name)
        return _known(config, kind, name) if kind in FAMILIES else None
    except (KeyError, TypeError, ValueError):
        return None


def families() -> tuple[str, ...]:
    """The `model_type` of every family that is counted."""
    return (*FAMILIES, *VISION)


def _with_tower(config: Mapping[str, Any], kind: str, name: str) -> Architecture | None:
    """A decoder that is loaded with the tower that sees pictures."""
    text = _known({**config["text_config"]}, VISION[kind], name)
    tower = config["vision_config"]
    seen = Vision(
        hidden=size(tower, "hidden_size"),
        layers=size(tower, "num_hidden_layers"),
        ffn=size(tower, "intermediate_size"),
        image=size(tower, "image_size"),
        patch=size(tower, "patch_size"),
        channels=given(tower, "num_channels", 3),
    )
    return replace(text, family=kind, vision=seen) if text else None


def layers_of(config: Mapping[str, Any]) -> int:
    return size(config, "num_hidden_layers", MOST_LAYERS)


def _known(written: Mapping[str, Any], kind: str, name: str) -> Architecture | None:
    family = FAMILIES[kind]
    config = {**family.defaults, **written}
    mixture = experts_of(config, kind) if kind in MIXTURES else None
    if kind in MIXTURES and mixture is None:
        return None
    heads, hidden = size(config, "num_attention_heads"), size(config, "hidden_size")
    plain = Architecture(
        name=name,
        hidden=hidden,
        layers=layers_of(config),
        heads=heads,
        kv_heads=given(config, "num_key_value_heads", heads),
        head_dim=given(config, "head_dim", hidden // heads),
        ffn=size(config, "intermediate_size"),
        vocab=size(config, "vocab_size"),
        positions=given(config, "max_position_embeddings"),
        tied=bool(config["tie_word_embeddings"]),
        family=kind,
        layout=family.layout,
        biases=_biases(config, family),
        head_bias=family.head_bias,
        experts=mixture,
        latent=latent_of(config) if kind.startswith("deepseek") else None,
    )
    if not plain.query:
        raise ValueError(f"{heads} heads share a width of {hidden}")
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
    inner, name = config.get("rope_parameters"), "partial_rotary_factor"
    outer = share(config, "rotary_pct", share(config, name, 1.0))
    return share(inner, name, outer) if isinstance(inner, Mapping) else outer


def window_of(config: Mapping[str, Any], family: Family, layers: int) -> tuple[int, int]:
    """How many tokens windowed layers see, and how many layers those are."""
    width = given(config, "sliding_window")
    if not width or not config.get("use_sliding_window", True) or family.windowed is None:
        return 0, 0
    kinds = config.get("layer_types")
    if kinds:
        if len(kinds) != layers:
            raise ValueError("`layer_types` names each layer once")
        count = sum(kind == "sliding_attention" for kind in kinds)
    else:
        count = sum(family.windowed(layer, config) for layer in range(layers))
    return (width, count) if count else (0, 0)


def experts_of(config: Mapping[str, Any], kind: str) -> Experts | None:
    """The routed experts of a mixture; None where dense blocks stand between those with experts."""
    layers = layers_of(config)
    first = given(config, "first_k_dense_replace", most=layers)
    alternates = given(config, "decoder_sparse_step", 1) > 1
    if alternates or sorted(config.get("mlp_only_layers") or []) not in ([], [*range(first)]):
        return None
    ffn = given(config, "moe_intermediate_size") or size(config, "intermediate_size")
    count = size(config, next((name for name in COUNTS if config.get(name)), COUNTS[0]))
    return Experts(
        count=count,
        active=size(config, "num_experts_per_tok", most=count),
        ffn=ffn,
        layers=layers - first,
        shared=_shared(config, kind, ffn),
        shared_gate=kind == "qwen2_moe",
    )


def _shared(config: Mapping[str, Any], kind: str, ffn: int) -> int:
    if kind == "qwen2_moe":
        return size(config, "shared_expert_intermediate_size")
    return given(config, "n_shared_experts") * ffn


def latent_of(config: Mapping[str, Any]) -> Latent:
    """The widths of DeepSeek's attention."""
    return Latent(
        query_rank=given(config, "q_lora_rank") or None,
        kv_rank=size(config, "kv_lora_rank"),
        plain=size(config, "qk_nope_head_dim"),
        rotated=size(config, "qk_rope_head_dim"),
        value=size(config, "v_head_dim"),
    )
