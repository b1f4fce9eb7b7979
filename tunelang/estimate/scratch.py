"""The config.json of a model from scratch: what the worker builds and the planner counts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

EXPERTS, ACTIVE = 8, 2  # of a mixture that does not say; Mixtral's (arXiv 2401.04088)


def config(architecture: str, shape: Mapping[str, int | None]) -> dict[str, Any]:
    """A config.json for `hidden`, `layers`, `heads`, `kv_heads`, `ffn`, `vocabulary`, `positions`.

    A mixture takes `experts` and `active` too; its `ffn` is the width of one expert.
    """
    sizes = {name: int(value) for name, value in shape.items() if value is not None}
    plain = {
        "model_type": architecture,
        "vocab_size": sizes["vocabulary"],
        "hidden_size": sizes["hidden"],
        "intermediate_size": sizes["ffn"],
        "num_hidden_layers": sizes["layers"],
        "num_attention_heads": sizes["heads"],
        "num_key_value_heads": sizes["kv_heads"],
        "max_position_embeddings": sizes["positions"],
        "tie_word_embeddings": True,
    }
    if architecture == "llama":
        return plain
    sizes = {"experts": EXPERTS, "active": ACTIVE, **sizes}
    return {**plain, "num_experts_per_tok": sizes["active"], **_mixture(architecture, sizes)}


def _mixture(architecture: str, sizes: Mapping[str, int]) -> dict[str, Any]:
    """What each family calls its experts."""
    width, count = sizes["hidden"] // sizes["heads"], sizes["experts"]
    if architecture == "mixtral":
        return {"num_local_experts": count}
    if architecture == "olmoe":
        return {"num_experts": count}
    if architecture == "qwen2_moe":
        inner = {"shared_expert_intermediate_size": sizes["ffn"]}
        return {"num_experts": count, "moe_intermediate_size": sizes["ffn"], **inner}
    if architecture == "qwen3_moe":
        return {
            "num_experts": count,
            "moe_intermediate_size": sizes["ffn"],
            "head_dim": width,
            "norm_topk_prob": True,
        }
    return {
        "intermediate_size": sizes["ffn"] * sizes["active"],
        "moe_intermediate_size": sizes["ffn"],
        "n_routed_experts": count,
        "n_shared_experts": 1,
        "first_k_dense_replace": min(1, sizes["layers"] - 1),
        "num_key_value_heads": sizes["heads"],
        "kv_lora_rank": sizes["hidden"] // 2,
        "q_lora_rank": None,
        "qk_rope_head_dim": width // 2,
        "qk_nope_head_dim": width // 2,
        "v_head_dim": width,
        "n_group": 1,
        "topk_group": 1,
    }


def impossible(architecture: str, shape: Mapping[str, int | None]) -> str:
    """Why there can be no such model; the empty string if there can."""
    hidden, heads, kv_heads = (shape[name] or 0 for name in ("hidden", "heads", "kv_heads"))
    if hidden % heads or (hidden // heads) % 2:
        return f"`hidden` ({hidden}) must divide into {heads} heads of even width"
    if heads % kv_heads:
        return f"`heads` ({heads}) must be a multiple of `kv_heads` ({kv_heads})"
    if architecture.startswith("deepseek") and (hidden // heads) % 4:
        return f"the heads of {architecture} must be a multiple of 4 wide, not {hidden // heads}"
    experts, active = shape.get("experts"), shape.get("active")
    if architecture == "llama" and (experts or active):
        return "llama has no experts; mixtral, qwen3_moe and deepseek_v2 have"
    if (active or ACTIVE) > (experts or EXPERTS):
        return f"no token can see {active or ACTIVE} of {experts or EXPERTS} experts"
    return ""
