"""What a config.json leaves to the code of its family, by `model_type`.

`defaults` are those of configuration_FAMILY.py of transformers 5.23: a config.json need not write
what equals them (Gemma 3 writes neither heads nor vocabulary). `tests/estimate/test_parameters.py`
holds them against the library.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tunelang.estimate.architecture import Layout, Norm
from tunelang.estimate.numbers import given

QKV = ("q_proj", "k_proj", "v_proj")
QKVO = (*QKV, "o_proj")
FEED_FORWARD = ("gate_proj", "up_proj", "down_proj")
Config = Mapping[str, Any]


@dataclass(frozen=True)
class Family:
    """How a family of decoders is built where its config.json has no word for it.

    `biases` are pairs of a switch of config.json (empty: always on) and the layers it gives a
    bias; `windowed` says whether the layer of a place sees the last tokens only.
    """

    defaults: Config
    layout: Layout = "llama"
    norm: Norm = "rms"
    norms: int = 2
    qk_norm: bool = False
    whole_norm: bool = False
    head_bias: bool = False
    scaled_embedding: bool = False
    biases: tuple[tuple[str, tuple[str, ...]], ...] = ()
    windowed: Callable[[int, Config], bool] | None = None


def _sizes(
    heads: int, kv_heads: int | None, vocab: int, positions: int, **more: Any
) -> dict[str, Any]:
    plain = {"tie_word_embeddings": False, "hidden_act": "silu", "head_dim": None}
    sizes = {"num_attention_heads": heads, "num_key_value_heads": kv_heads}
    return {**plain, **sizes, "vocab_size": vocab, "max_position_embeddings": positions, **more}


def _gemma(heads: int, kv_heads: int, vocab: int, positions: int, **more: Any) -> Config:
    own = {"tie_word_embeddings": True, "head_dim": 256, "attention_bias": False}
    return _sizes(heads, kv_heads, vocab, positions, **own, **more)


def _everywhere(_layer: int, _config: Config) -> bool:
    return True


def _late(layer: int, config: Config) -> bool:
    return layer >= given(config, "max_window_layers")


def _every_other(layer: int, config: Config) -> bool:
    return layer % 2 == 0 and layer < given(config, "max_window_layers")


def _between(full: int) -> Callable[[int, Config], bool]:
    """All layers but each `full`-th, or what the config says instead."""
    return lambda layer, config: (layer + 1) % given(config, "sliding_window_pattern", full) > 0


ATTENTION = (("attention_bias", QKVO),)
BOTH = (*ATTENTION, ("mlp_bias", FEED_FORWARD))
LATENT = (("attention_bias", ("q_a_proj", "kv_a_proj_with_mqa", "o_proj")),)
NONE = {"attention_bias": False, "mlp_bias": False}
TANH = "gelu_pytorch_tanh"
WINDOW = {"sliding_window": 4096}
LATER = {**WINDOW, "use_sliding_window": False, "max_window_layers": 28}
CAPS = {"final_logit_softcapping": 30.0, "attn_logit_softcapping": 50.0}
ROUTED = {"decoder_sparse_step": 1, "mlp_only_layers": None}
MLA = {
    "attention_bias": False,
    "kv_lora_rank": 512,
    "q_lora_rank": 1536,
    "qk_nope_head_dim": 128,
    "qk_rope_head_dim": 64,
    "v_head_dim": 128,
}

FAMILIES: Mapping[str, Family] = {
    "llama": Family(_sizes(32, None, 32000, 2048, **NONE), biases=BOTH),
    "mistral": Family(_sizes(32, 8, 32000, 131072, **WINDOW), windowed=_everywhere),
    "qwen2": Family(_sizes(32, 32, 151936, 32768, **LATER), biases=(("", QKV),), windowed=_late),
    "qwen3": Family(
        _sizes(32, 32, 151936, 32768, **LATER) | {"head_dim": 128, "attention_bias": False},
        qk_norm=True,
        biases=ATTENTION,
        windowed=_late,
    ),
    "gemma": Family(
        _gemma(16, 16, 256000, 8192, hidden_act=TANH),
        norm="gemma",
        scaled_embedding=True,
        biases=ATTENTION,
    ),
    "gemma2": Family(
        _gemma(8, 4, 256000, 8192, hidden_activation=TANH, **WINDOW, **CAPS),
        norm="gemma",
        norms=4,
        scaled_embedding=True,
        biases=ATTENTION,
        windowed=_between(2),
    ),
    "gemma3_text": Family(
        _gemma(8, 4, 262208, 131072, hidden_activation=TANH, **WINDOW),
        norm="gemma",
        norms=4,
        qk_norm=True,
        scaled_embedding=True,
        biases=ATTENTION,
        windowed=_between(6),
    ),
    "phi": Family(
        _sizes(32, None, 51200, 2048, hidden_act="gelu_new", qk_layernorm=False)
        | {"partial_rotary_factor": 0.5},
        layout="phi",
        norm="layer",
        norms=1,
        head_bias=True,
        biases=(("", (*QKV, "dense", "fc1", "fc2")),),
    ),
    "phi3": Family(
        _sizes(32, None, 32064, 4096, sliding_window=None), layout="phi3", windowed=_everywhere
    ),
    "olmo": Family(
        _sizes(32, None, 50304, 2048, attention_bias=False), norm="plain", biases=ATTENTION
    ),
    "olmo2": Family(
        _sizes(32, None, 50304, 2048, attention_bias=False), whole_norm=True, biases=ATTENTION
    ),
    "olmo3": Family(
        _sizes(32, None, 50304, 2048, attention_bias=False, **WINDOW),
        whole_norm=True,
        biases=ATTENTION,
        windowed=_between(4),
    ),
    "smollm3": Family(
        _sizes(16, 4, 128256, 32768, **NONE) | {"tie_word_embeddings": True}, biases=BOTH
    ),
    "granite": Family(_sizes(32, None, 32000, 2048, **NONE), scaled_embedding=True, biases=BOTH),
    "stablelm": Family(
        _sizes(32, 32, 50304, 4096, use_qkv_bias=False, qk_layernorm=False)
        | {"use_parallel_residual": False, "partial_rotary_factor": 0.25},
        norm="layer",
        biases=(("use_qkv_bias", QKV),),
    ),
    "gpt_neox": Family(
        _sizes(64, None, 50432, 2048, hidden_act="gelu", attention_bias=True)
        | {"use_parallel_residual": True, "partial_rotary_factor": 0.25},
        layout="gpt_neox",
        norm="layer",
        biases=(
            ("attention_bias", ("query_key_value", "dense")),
            ("", ("dense_h_to_4h", "dense_4h_to_h")),
        ),
    ),
    "starcoder2": Family(
        _sizes(24, 2, 49152, 4096, hidden_act=TANH, use_bias=True, sliding_window=None)
        | {"tie_word_embeddings": True},
        layout="starcoder2",
        norm="layer",
        biases=(("use_bias", (*QKVO, "c_fc", "c_proj")),),
        windowed=_everywhere,
    ),
    "mixtral": Family(_sizes(32, 8, 32000, 131072, sliding_window=None), windowed=_everywhere),
    "qwen2_moe": Family(
        _sizes(16, 16, 151936, 32768, qkv_bias=True, **LATER, **ROUTED),
        biases=(("qkv_bias", QKV),),
        windowed=_every_other,
    ),
    "qwen3_moe": Family(
        _sizes(32, 4, 151936, 32768, attention_bias=False, **ROUTED)
        | {**WINDOW, "use_sliding_window": False},
        qk_norm=True,
        biases=ATTENTION,
        windowed=_everywhere,
    ),
    "olmoe": Family(
        _sizes(16, None, 50304, 4096, attention_bias=False), whole_norm=True, biases=ATTENTION
    ),
    "deepseek_v2": Family(
        _sizes(32, None, 102400, 2048, mlp_bias=False, **MLA) | {"n_shared_experts": 2},
        biases=(*LATENT, ("mlp_bias", FEED_FORWARD)),
    ),
    "deepseek_v3": Family(
        _sizes(128, 128, 129280, 4096, **MLA) | {"n_shared_experts": 1, "first_k_dense_replace": 3},
        biases=LATENT,
    ),
}
