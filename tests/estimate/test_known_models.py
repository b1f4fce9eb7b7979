"""The catalogue of models: counted as transformers builds them, and true to what is stated."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest

from tunelang.catalog import licences, models, tokenizers
from tunelang.catalog.models import Model
from tunelang.estimate.config import families, from_config
from tunelang.estimate.parameters import Architecture, count, linears
from tunelang.sources.tokenizers import LAYOUTS

# What the hub calls `other`, or what no list of licences has: terms that are not judged.
NOT_JUDGED = {
    "bigcode-openrail-m",
    "deepseek",
    "falcon-llm-license",
    "mistral-non-production",
    "mistral-research",
    "qwen",
    "stability-community",
    "stability-nc-research",
    "tongyi-qianwen",
    "tongyi-qianwen-research",
}
OWN_LAYOUTS = {"deepseek", "falcon3", "granite", "phi3", "phi4", "tulu", "vicuna"}


def read(model: Model) -> Architecture:
    architecture = from_config(model.config, model.id)
    assert architecture, model.id
    return architecture


def shapes() -> dict[str, Model]:
    """One model of each shape: those that differ in context alone are built alike."""
    found: dict[str, Model] = {}
    for model in models.every():
        plain = {n: v for n, v in model.config.items() if n != "max_position_embeddings"}
        found.setdefault(repr(sorted(plain.items())), model)
    return {model.id: model for model in found.values()}


def parameters_of_built(config: dict[str, Any]) -> int:
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    rest = {name: value for name, value in config.items() if name != "model_type"}
    settings = transformers.AutoConfig.for_model(config["model_type"], **rest)
    with torch.device("meta"):
        model = transformers.AutoModelForCausalLM.from_config(settings)
    return sum(value.numel() for value in model.parameters())


@pytest.mark.parametrize("hub_id", shapes())
def test_every_model_is_counted_as_transformers_builds_it(hub_id: str) -> None:
    """In full size on the meta device, to the parameter."""
    model = shapes()[hub_id]
    assert count(read(model)) == parameters_of_built(model.config)


def test_counts_are_what_repositories_state() -> None:
    """To the parameter for most of them, and to three digits for the others."""
    assert sum(model.exact for model in models.every()) > 200
    for model in models.every():
        assert model.stated, model.id
        error = 0 if model.exact else 0.006
        assert count(read(model)) == pytest.approx(model.stated, rel=error, abs=0), model.id


def test_what_a_config_json_sets_to_null_is_null_here() -> None:
    """A key that is left out would mean the family's default: another window, another rank."""
    windows = {
        "mistralai/Mistral-7B-v0.1": (4096, 32),
        "mistralai/Mistral-7B-v0.3": (0, 0),
        "mistralai/Mixtral-8x7B-v0.1": (0, 0),
        "google/gemma-3-27b-it": (1024, 52),
        "google/gemma-2-9b": (4096, 21),
    }
    for hub_id, window in windows.items():
        shape = read(models.find(hub_id) or pytest.fail(hub_id))
        assert (shape.window, shape.windowed) == window, hub_id
    lite, whole = (models.config(f"deepseek-ai/DeepSeek-V2{end}") for end in ("-Lite", ""))
    assert lite and lite["q_lora_rank"] is None
    assert whole and whole["q_lora_rank"] == 1536


def test_there_are_enough_models_and_each_once() -> None:
    """At least 80 repositories, of every family that is counted."""
    names = models.names()
    assert len(names) == len(set(names)) >= 80
    assert {model.family for model in models.every()} == set(families())


def test_one_model_is_found_without_reading_the_others() -> None:
    """By its exact id; a part of an id names nothing."""
    found = models.find("Qwen/Qwen3-8B")
    assert found and found.config["hidden_size"] == 4096 and found.context == 40960
    assert models.find("Qwen/Qwen3-8") is None and models.find("tuned to talk") is None
    assert models.config("Qwen/Qwen3-8B") == found.config
    assert "deepseek-ai/DeepSeek-R1" in (models.find("deepseek-ai/DeepSeek-V3-0324") or found).alike


def test_licences_are_judged_or_known_not_to_be() -> None:
    """Each licence is one that licences.toml judges, or one that it says nothing about."""
    named = {model.licence for model in models.every()}
    assert {name for name in named if licences.find(name) is None} == NOT_JUDGED


def test_gated_models_are_not_under_free_licences() -> None:
    """The two catalogues agree on whose terms must be agreed to first."""
    for model in models.every():
        if licences.gated(model.id):
            assert model.licence.startswith(("llama", "gemma")), model.id


def test_templates_agree_with_the_catalogue_of_tokenizers() -> None:
    """Where a tokenizer is known, its tuned layout is the model's."""
    met = 0
    for model in models.every():
        known = tokenizers.of_hub(model.id)
        if known:
            met += 1
            assert model.template == (known.layout if known.tuned else ""), model.id
        assert model.template in {"", *LAYOUTS.values(), *OWN_LAYOUTS}, model.id
    assert met > 20


def test_every_known_tokenizer_is_of_a_known_model() -> None:
    """No model is in one catalogue and missing in the other."""
    entries = tomllib.loads(tokenizers.FILE.read_text("utf-8")).values()
    named = {model for entry in entries for model in entry["models"]}
    assert named <= set(models.names())


def test_every_entry_says_where_its_numbers_are_from() -> None:
    """A source, a context that positions reach, and heads that divide the layers' width."""
    for model in models.every():
        architecture = read(model)
        assert "config.json" in model.source
        assert architecture.positions == model.context
        assert architecture.heads % architecture.kv_heads == 0
        assert all(min(size) > 0 for size in linears(architecture).values())
