"""Counts of mixtures of experts against the models that transformers builds, without weights."""

from __future__ import annotations

from typing import Any

import pytest

from tunelang.catalog import models
from tunelang.estimate.config import from_config
from tunelang.estimate.fit import fit
from tunelang.estimate.machine import machine_here
from tunelang.estimate.parameters import (
    Architecture,
    Targets,
    active_count,
    count,
    fused,
    lora_count,
    selected_count,
)
from tunelang.estimate.work import Work

SHAPE = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 300,
    "max_position_embeddings": 128,
    "num_experts_per_tok": 2,
    "tie_word_embeddings": False,
}
ROUTED = {"moe_intermediate_size": 32, "num_experts": 8}
DEEPSEEK = {
    "moe_intermediate_size": 32,
    "n_routed_experts": 8,
    "n_shared_experts": 2,
    "first_k_dense_replace": 1,
    "num_key_value_heads": 4,
    "kv_lora_rank": 16,
    "q_lora_rank": None,
    "qk_rope_head_dim": 8,
    "qk_nope_head_dim": 8,
    "v_head_dim": 24,
    "n_group": 1,
    "topk_group": 1,
}
FAMILIES: dict[str, dict[str, Any]] = {
    "mixtral": {"num_local_experts": 4},
    "qwen2_moe": {**ROUTED, "shared_expert_intermediate_size": 48},
    "qwen3_moe": {**ROUTED, "head_dim": 24},
    "olmoe": {"num_experts": 8},
    "deepseek_v2": DEEPSEEK,
    "deepseek_v3": {**DEEPSEEK, "q_lora_rank": 24},
}


def built(config: dict[str, Any]) -> tuple[Any, Architecture]:
    """The model of a config.json on the meta device, and our reading of it."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    rest = {name: value for name, value in config.items() if name != "model_type"}
    settings = transformers.AutoConfig.for_model(config["model_type"], **rest)
    with torch.device("meta"):
        model = transformers.AutoModelForCausalLM.from_config(settings)
    architecture = from_config(config, config["model_type"])
    assert architecture
    return model, architecture


def parameters(model: Any) -> int:
    return sum(value.numel() for value in model.parameters())


@pytest.mark.parametrize("family", FAMILIES)
def test_counts_are_those_of_the_built_model(family: str) -> None:
    """To the parameter: routers, shared experts, latent attention and every norm included."""
    model, architecture = built({"model_type": family, **SHAPE, **FAMILIES[family]})
    assert count(architecture) == parameters(model)


@pytest.mark.parametrize(
    "hub_id",
    [
        "mistralai/Mixtral-8x7B-v0.1",
        "Qwen/Qwen1.5-MoE-A2.7B",
        "Qwen/Qwen3-30B-A3B",
        "allenai/OLMoE-1B-7B-0924",
        "deepseek-ai/DeepSeek-V2-Lite",
        "deepseek-ai/DeepSeek-V2",
    ],
)
def test_counts_of_the_catalogue_are_those_of_the_built_model(hub_id: str) -> None:
    """The catalogue's entries are counted as transformers counts them."""
    config = models.config(hub_id)
    assert config
    model, architecture = built({"q_lora_rank": None, **config})  # TOML holds no null
    assert count(architecture) == parameters(model)


def known(hub_id: str) -> Architecture:
    architecture = from_config(models.config(hub_id) or {}, hub_id)
    assert architecture
    return architecture


def test_active_parameters_are_those_that_models_state() -> None:
    """2.4B of DeepSeek-V2-Lite, 12.9B of Mixtral, 1.3B of OLMoE, 3.3B of Qwen3 meet a token."""
    stated = {
        "deepseek-ai/DeepSeek-V2-Lite": 2.4e9,
        "mistralai/Mixtral-8x7B-v0.1": 12.9e9,
        "allenai/OLMoE-1B-7B-0924": 1.3e9,
        "Qwen/Qwen3-30B-A3B": 3.3e9,
    }
    for hub_id, active in stated.items():
        assert active_count(known(hub_id)) == pytest.approx(active, rel=0.12)


FORWARD = ("gate_proj", "up_proj", "down_proj")
NAMED: dict[str, list[Targets]] = {
    "mixtral": [],
    "qwen2_moe": [FORWARD, ("q_proj", "gate_proj")],  # of the shared expert
    "qwen3_moe": [FORWARD, ("down_proj",)],  # PEFT takes these names for the experts
    "olmoe": [FORWARD],
    "deepseek_v2": [FORWARD, ("kv_b_proj", "gate_proj", "up_proj")],
    "deepseek_v3": [FORWARD, ("q_a_proj", "down_proj")],
}


@pytest.mark.parametrize("family", FAMILIES)
def test_lora_counts_are_those_of_peft(family: str) -> None:
    """For all linear layers and for named ones, to the parameter: with what PEFT moves from the
    names of feed-forwards to the experts, at twice the rank.

    Routers are left aside: whether they get one is for the worker to say.
    """
    pytest.importorskip("peft")
    from tunelang.plan.ir import Weights
    from tunelang.train.trainable import add_adapter

    for targets in ("all_linear", ("k_proj", "o_proj"), *NAMED[family]):
        model, architecture = built({"model_type": family, **SHAPE, **FAMILIES[family]})
        fields = {"rank": 4, "alpha": 8, "dropout": 0.0, "targets": targets}
        made = add_adapter(model, "default", Weights(kind="lora", fields=fields))
        trained = sum(
            value.numel()
            for name, value in made.named_parameters()
            if "lora_" in name and ".gate." not in name
        )
        assert lora_count(architecture, 4, targets) == trained, targets


@pytest.mark.parametrize("family", ["deepseek_v2", "qwen3_moe"])
def test_half_of_a_fused_matrix_is_refused(family: str) -> None:
    """PEFT takes gate and up projection together only where experts hold them as one; `fused`
    names the two, so that a recipe can be told before anything is loaded."""
    pytest.importorskip("peft")
    from tunelang.plan.ir import Weights
    from tunelang.train.trainable import add_adapter

    model, architecture = built({"model_type": family, **SHAPE, **FAMILIES[family]})
    assert fused(architecture) == ("gate_proj", "up_proj")
    fields = {"rank": 4, "alpha": 8, "dropout": 0.0, "targets": ("o_proj", "gate_proj")}
    with pytest.raises(ValueError, match="without also targeting"):
        add_adapter(model, "default", Weights(kind="lora", fields=fields))
    dense = from_config({"model_type": "llama", **SHAPE}, "dense")
    assert dense and fused(dense) is None


@pytest.mark.parametrize("weights", ["full", "lora", "qlora", "experts"])
@pytest.mark.parametrize("family", FAMILIES)
def test_every_way_of_training_a_mixture_is_estimated(family: str, weights: str) -> None:
    """The plan's figures come out, and selected experts need less than full tuning."""
    architecture = from_config({"model_type": family, **SHAPE, **FAMILIES[family]}, family)
    assert architecture
    kind = {"architecture": architecture, "method": "esft", "rank": 4, "targets": "all_linear"}
    sizes = {"batch": 8, "length": 64, "mean_length": 64, "steps": 5, "share": 0.25}
    work = Work(weights=weights, precision="bf16", **kind, **sizes)
    estimate = fit(work, machine_here()).estimate
    assert estimate.trainable == work.trained > 0
    whole = Work(weights="full", precision="bf16", **kind, **sizes)
    if weights != "full":
        assert work.trained < whole.trained
        assert estimate.terms["optimizer"] < fit(whole, machine_here()).estimate.terms["optimizer"]


def test_selected_experts_are_whole_experts() -> None:
    """20% of 64 experts is 13 of each of 26 blocks, 3 x 2048 x 1408 weights each."""
    lite = known("deepseek-ai/DeepSeek-V2-Lite")
    assert selected_count(lite, 0.2) == 26 * 13 * 3 * 2048 * 1408


@pytest.mark.parametrize(
    "change",
    [
        {"decoder_sparse_step": 2},  # dense blocks between those with experts
        {"mlp_only_layers": [1]},
        {"hidden_size": None},  # a config.json that leaves out what its family needs
        {"model_type": "gpt_oss"},  # a family that is not known
    ],
)
def test_what_cannot_be_counted_is_not_guessed(change: dict[str, Any]) -> None:
    """The plan then says that it knows no architecture, and gives no figures."""
    config = {"model_type": "qwen3_moe", **SHAPE, **FAMILIES["qwen3_moe"]}
    assert from_config(config, "known")
    assert from_config({**config, **change}, "unknown") is None
