"""Counts from a config.json against the models that transformers builds, to the parameter."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tunelang.estimate.config import MIXTURES, families, from_config
from tunelang.estimate.families import FAMILIES
from tunelang.estimate.parameters import (
    Architecture,
    Targets,
    count,
    dense_linears,
    linear_count,
    linears,
    lora_count,
    vision_linears,
)

SHAPE = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 300,
    "max_position_embeddings": 128,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
MIXED = {"moe_intermediate_size": 32, "num_experts": 8, "num_experts_per_tok": 2}
LATENT = {
    "moe_intermediate_size": 32,
    "n_routed_experts": 8,
    "n_shared_experts": 2,
    "num_experts_per_tok": 2,
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
BOTH = {"attention_bias": True, "mlp_bias": True}
TOWER = {
    "hidden_size": 48,
    "intermediate_size": 80,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "image_size": 56,
    "patch_size": 14,
    "vision_use_head": False,
    "model_type": "siglip_vision_model",
}
SEEING = {
    "model_type": "gemma3",
    "text_config": {**SHAPE, "head_dim": 24, "model_type": "gemma3_text"},
    "vision_config": TOWER,
    "mm_tokens_per_image": 16,
}
# name -> family and what its config says beside SHAPE
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("llama", {}),
    "llama with biases": ("llama", BOTH),
    "llama with wide heads": ("llama", {"head_dim": 24}),
    "mistral": ("mistral", {"head_dim": 24}),
    "qwen2": ("qwen2", {}),
    "qwen3": ("qwen3", {"head_dim": 24}),
    "qwen3 with biases": ("qwen3", {"attention_bias": True}),
    "gemma": ("gemma", {"head_dim": 24}),
    "gemma2": ("gemma2", {"head_dim": 24}),
    "gemma3": ("gemma3_text", {"head_dim": 24}),
    "gemma3 with biases": ("gemma3_text", {"attention_bias": True}),
    "phi": ("phi", {}),
    "phi with normed heads": ("phi", {"qk_layernorm": True}),
    "phi3": ("phi3", {}),
    "olmo": ("olmo", {}),
    "olmo2": ("olmo2", {}),
    "olmo3": ("olmo3", {"attention_bias": True}),
    "smollm3": ("smollm3", BOTH),
    "granite": ("granite", BOTH),
    "stablelm": ("stablelm", {"use_qkv_bias": True}),
    "stablelm in parallel": ("stablelm", {"use_parallel_residual": True, "qk_layernorm": True}),
    "gpt_neox": ("gpt_neox", {"num_key_value_heads": 4}),
    "gpt_neox without biases": ("gpt_neox", {"num_key_value_heads": 4, "attention_bias": False}),
    "starcoder2": ("starcoder2", {}),
    "starcoder2 without biases": ("starcoder2", {"use_bias": False}),
    "mixtral": ("mixtral", {"num_local_experts": 4, "num_experts_per_tok": 2}),
    "qwen2_moe": ("qwen2_moe", {**MIXED, "shared_expert_intermediate_size": 48}),
    "qwen2_moe without biases": (
        "qwen2_moe",
        {**MIXED, "shared_expert_intermediate_size": 48, "qkv_bias": False},
    ),
    "qwen3_moe": ("qwen3_moe", {**MIXED, "head_dim": 24}),
    "olmoe": ("olmoe", {"num_experts": 8, "num_experts_per_tok": 2}),
    "deepseek_v2": ("deepseek_v2", {**LATENT, "attention_bias": True, "mlp_bias": True}),
    "deepseek_v3": ("deepseek_v3", {**LATENT, "q_lora_rank": 24, "attention_bias": True}),
}
DENSE = [name for name, (kind, _) in CASES.items() if kind not in MIXTURES]


def config_of(case: str, **more: Any) -> dict[str, Any]:
    if case == "gemma3 that sees":
        return {**SEEING, **more}
    kind, rest = CASES[case]
    return {"model_type": kind, **SHAPE, **rest, **more}


def build(config: dict[str, Any]) -> Any:
    """The model of a config.json on the meta device, as a worker's loader would pick it."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    rest = {name: value for name, value in config.items() if name != "model_type"}
    settings = transformers.AutoConfig.for_model(config["model_type"], **rest)
    with torch.device("meta"):
        return transformers.AutoModelForCausalLM.from_config(settings)


def read(config: dict[str, Any]) -> Architecture:
    architecture = from_config(config, "read")
    assert architecture
    return architecture


def parameters(model: Any) -> int:
    return sum(value.numel() for value in model.parameters())


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("case", [*CASES, "gemma3 that sees"])
def test_counts_are_those_of_the_built_model(case: str, tied: bool) -> None:
    """Norms, biases, heads, routers, experts and towers: to the parameter, tied and untied."""
    if case == "gemma3 that sees" and not tied:
        pytest.skip("Gemma 3 is tied")
    config = config_of(case, tie_word_embeddings=tied)
    assert count(read(config)) == parameters(build(config))


def test_every_family_is_built_here() -> None:
    """No family is counted that no test has held against a model."""
    assert {kind for kind, _ in CASES.values()} | {"gemma3"} == set(families())


@pytest.mark.parametrize("case", [*CASES, "gemma3 that sees"])
def test_linear_layers_go_by_the_names_that_peft_sees(case: str) -> None:
    """The names and shapes inside blocks, biases too: a list of targets names all of them."""
    nn = pytest.importorskip("torch.nn")
    config = config_of(case)
    architecture, model = read(config), build(config)
    seen: dict[str, set[tuple[int, int, bool]]] = {}
    total = 0
    for path, layer in model.named_modules():
        name = path.rpartition(".")[2]
        if isinstance(layer, nn.Linear) and name not in ("lm_head", "gate", "router"):
            size = (layer.in_features, layer.out_features, layer.bias is not None)
            seen.setdefault(name, set()).add(size)
            total += layer.weight.numel()
    expected: dict[str, set[tuple[int, int, bool]]] = {}
    for layers in (linears(architecture), dense_linears(architecture)):
        for name, (i, o) in layers.items():
            expected.setdefault(name, set()).add((i, o, name in architecture.biases))
    if architecture.experts and not architecture.dense:  # no block has the dense feed-forward
        only = linears(architecture)
        expected = {name: {(*only[name], name in architecture.biases)} for name in only}
    for name, (i, o) in vision_linears(architecture).items():
        expected.setdefault(name, set()).add((i, o, True))
    assert seen == expected
    assert total == linear_count(architecture)


def targets_of(case: str) -> list[Targets]:
    """All linear layers, and two that this architecture names."""
    names = [*linears(read(config_of(case)))]
    return ["all_linear", (names[0], names[-1])]


@pytest.mark.parametrize("case", [*DENSE, "gemma3 that sees"])
def test_lora_counts_are_those_of_peft(case: str) -> None:
    """For all linear layers and for named ones, to the parameter."""
    pytest.importorskip("peft")
    from tunelang.plan.ir import Weights
    from tunelang.train.trainable import add_adapter

    config = config_of(case)
    for targets in targets_of(case):
        fields = {"rank": 4, "alpha": 8, "dropout": 0.0, "targets": targets}
        made = add_adapter(build(config), "default", Weights(kind="lora", fields=fields))
        trained = sum(p.numel() for name, p in made.named_parameters() if "lora_" in name)
        assert lora_count(read(config), 4, targets) == trained, targets


@pytest.mark.parametrize("family", FAMILIES)
def test_defaults_are_those_of_the_library(family: str) -> None:
    """What a config.json may leave out is what transformers then takes."""
    transformers = pytest.importorskip("transformers")
    library = transformers.CONFIG_MAPPING[family]
    ours = FAMILIES[family].defaults
    theirs = {name: getattr(library, name) for name in ours if hasattr(library, name)}
    assert theirs == {name: value for name, value in ours.items() if name in theirs}
    # What a family has no word for, or writes inside rope_parameters (tested below).
    silent = {"head_dim", "hidden_act", "num_key_value_heads", "partial_rotary_factor"}
    assert set(ours) - set(theirs) <= silent


def test_what_a_config_leaves_out_is_counted_as_the_library_counts_it() -> None:
    """Gemma 3's own config.json says neither heads nor vocabulary nor that it is tied."""
    bare = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 30}
    for family in FAMILIES:
        config = {"model_type": family, **bare, "num_experts_per_tok": 2}
        if family.startswith("qwen") and family.endswith("moe"):
            config |= {**MIXED, "shared_expert_intermediate_size": 48, "head_dim": 8}
        if family.startswith("deepseek"):
            config |= {"moe_intermediate_size": 32, "n_routed_experts": 4}
        if family in ("mixtral", "olmoe"):
            config |= {"num_local_experts": 4, "num_experts": 4}
        model = build(config)
        architecture = read(config)
        assert count(architecture) == parameters(model), family
        settings = model.config
        kinds = getattr(settings, "layer_types", None) or []
        assert architecture.windowed == kinds.count("sliding_attention") or not kinds, family


@pytest.mark.parametrize(
    ("family", "more", "expected"),
    [
        ("llama", {}, (0, 0)),
        ("mistral", {"sliding_window": 64}, (64, 4)),
        ("mistral", {"sliding_window": None}, (0, 0)),
        ("qwen2", {"sliding_window": 64, "use_sliding_window": False}, (0, 0)),
        (
            "qwen2",
            {"sliding_window": 64, "use_sliding_window": True, "max_window_layers": 3},
            (64, 1),
        ),
        ("gemma2", {"sliding_window": 64}, (64, 2)),
        ("gemma3_text", {"sliding_window": 64, "sliding_window_pattern": 2}, (64, 2)),
        ("gemma3_text", {"layer_types": ["full_attention"] * 4}, (0, 0)),
        ("olmo3", {"sliding_window": 64}, (64, 3)),
    ],
)
def test_windows(family: str, more: dict[str, Any], expected: tuple[int, int]) -> None:
    """How far windowed layers see, and how many there are of them, as transformers has it."""
    config = {"model_type": family, **SHAPE, **more}
    architecture = read(config)
    assert (architecture.window, architecture.windowed) == expected
    pytest.importorskip("transformers")
    kinds = getattr(build(config).config, "layer_types", None)
    assert kinds is None or kinds.count("sliding_attention") == expected[1]


def test_traits_that_memory_reads() -> None:
    """Each family's norms, scales and shapes of feed-forwards."""
    read_ = {name: read(config_of(name)) for name in CASES}
    assert (read_["gemma2"].norms, read_["phi"].norms, read_["llama"].norms) == (4, 1, 2)
    assert read_["stablelm in parallel"].norms == 1
    assert {n for n, a in read_.items() if not a.gated and " " not in n} == {
        "phi",
        "gpt_neox",
        "starcoder2",
    }
    assert {n for n, a in read_.items() if a.parallel and " " not in n} == {"phi", "gpt_neox"}
    assert {n for n, a in read_.items() if a.softcap} == {"gemma2"}
    assert {n for n, a in read_.items() if a.scaled_logits} == {"granite"}
    assert read_["gemma"].scaled_embedding and not read_["llama"].scaled_embedding
    assert read_["gemma"].activation == "gelu_pytorch_tanh"
    assert (read_["phi"].rotary, read_["gpt_neox"].rotary, read_["llama"].rotary) == (0.5, 0.25, 1)


def test_rotary_is_read_wherever_it_stands() -> None:
    """As a field of its own, in rope_parameters, or by GPT-NeoX's name."""
    for more in ({"partial_rotary_factor": 0.75}, {"rotary_pct": 0.75}):
        assert read(config_of("phi3", **more)).rotary == 0.75
    inner = {"rope_parameters": {"rope_type": "default", "partial_rotary_factor": 0.75}}
    assert read(config_of("phi3", **inner)).rotary == 0.75


def test_a_config_json_is_read_as_it_lies_in_a_folder(tmp_path: Path) -> None:
    """What transformers itself writes gives the same counts as what it was built from."""
    pytest.importorskip("transformers")
    for case in ("gemma3 that sees", "gemma2", "phi", "deepseek_v2"):
        model = build(config_of(case))
        model.config.save_pretrained(tmp_path)
        written = json.loads((tmp_path / "config.json").read_text("utf-8"))
        assert count(read(written)) == parameters(model), case
