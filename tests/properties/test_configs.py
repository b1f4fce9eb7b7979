"""Whatever a config.json holds, it is counted or refused: nothing is raised, and nothing hangs.

Anybody may have written it: models of the hub are named by their id, and read from its cache.
"""

from __future__ import annotations

import itertools
import json
import time
from math import isfinite
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunelang.catalog import gpus, models
from tunelang.diagnostic import Diagnostic
from tunelang.estimate.asked import Asked, figures
from tunelang.estimate.config import from_config
from tunelang.estimate.machine import Machine
from tunelang.estimate.parameters import count
from tunelang.plan.findings import of_file
from tunelang.plan.named import named
from tunelang.sources.config_file import MOST

CONFIGS = {model.family: model.config for model in models.every()}
LLAMA = CONFIGS["llama"]
CARD = gpus.find("H100-80GB")
assert CARD
MACHINE = Machine("gpu", CARD, 1, CARD.memory, CARD.usable, 1, None, bf16=True)
READ = ("head_dim", "sliding_window", "layer_types", "rope_parameters", "mlp_only_layers")
MORE = ("sliding_window_pattern", "first_k_dense_replace", "rotary_pct", "text_config")
HOSTILE: tuple[Any, ...] = (
    *(0, -1, 1, 7, 10**9, 10**12, 2**63, 10**400, 0.5, 1e300, "4096", "x", "", None, True, False),
    *(float("nan"), float("inf"), [], [1], [None], ["a"], {}, {"a": 1}, [[]]),
)


@st.composite
def configs(draw: st.DrawFn) -> dict[str, Any]:
    """A config of the catalogue, in which one to three values were exchanged."""
    config = json.loads(json.dumps(CONFIGS[draw(st.sampled_from(sorted(CONFIGS)))]))
    whole: dict[str, Any] = config
    if "text_config" in config and draw(st.booleans()):
        config = config[draw(st.sampled_from(["text_config", "vision_config"]))]
    for _ in range(draw(st.integers(1, 3))):
        config[draw(st.sampled_from([*config, *READ, *MORE]))] = draw(st.sampled_from(HOSTILE))
    return whole


@settings(max_examples=600, deadline=2000)
@given(configs(), st.sampled_from(["full", "lora", "qlora"]), st.booleans())
def test_a_config_is_counted_or_refused(config: dict[str, Any], weights: str, again: bool) -> None:
    """What is counted has parameters, bytes and seconds that are numbers, above zero."""
    found = from_config(config, "any")
    if found is None:
        return
    answer = figures(Asked(found, MACHINE, weights=weights, checkpointing=again))
    assert count(found) > 0 and answer.trained > 0
    assert isfinite(answer.memory.allocated) and answer.memory.allocated > 0
    assert isfinite(answer.seconds.middle) and answer.seconds.middle > 0
    assert min(answer.memory.terms.values()) >= 0


FILES = {
    "nothing": "",
    "no JSON": "{",
    "a list": "[1]",
    "a text": '"llama"',
    "nested": "[" * 100_000,
    "large": " " * (MOST + 1) + json.dumps(LLAMA),
    "endless": json.dumps(LLAMA | {"num_hidden_layers": 10**12}),
    "infinite": json.dumps(LLAMA | {"hidden_size": float("inf")}),
    "headless": json.dumps(LLAMA | {"num_attention_heads": 0}),
    "backwards": json.dumps(LLAMA | {"vocab_size": -1}),
    "unknown": json.dumps(LLAMA | {"model_type": ["llama"]}),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_cannot_be_counted_is_a_finding(name: str, tmp_path: Path) -> None:
    """On the command line it is TL322; in a recipe it is a finding too, or has no estimate."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text(FILES[name])
    (folder / "model.safetensors").touch()
    began = time.monotonic()
    answer = named(str(folder))
    assert isinstance(answer, Diagnostic) and answer.code == "TL322"
    recipe = tmp_path / "r.tune"
    recipe.write_text(
        'tune 1\nmodel own = "model/"\ndata texts = "t.txt"\n'
        "stage one: domain_adaptation { model = own, data = texts, length = 8 tokens }\n"
    )
    (tmp_path / "t.txt").write_text("a b c\n")
    found = of_file(recipe)
    steps = found.plan.steps if found.plan else []
    assert "TL322" in {each.code for each in found.found} or not any(s.estimate for s in steps)
    assert time.monotonic() - began < 2


def test_every_model_is_estimated() -> None:
    """Each config of the catalogue, in each kind of weights it has, on one GPU after the other: a
    twentieth of a second each on the whole, and terms that add up to the largest phase."""
    known = {json.dumps(m.config): from_config(m.config, m.id) for m in models.every()}
    cards = itertools.cycle(card for name in gpus.names() if (card := gpus.find(name)))
    began, number = time.process_time(), 0
    for shape in known.values():
        assert shape
        kinds = ("full", "lora", "qlora", *(["experts"] if shape.experts else []))
        for weights, card in zip(kinds, cards, strict=False):
            machine = Machine("gpu", card, 1, card.memory, card.usable, 1, None, bf16=card.bf16)
            memory = figures(Asked(shape, machine, weights=weights)).memory
            assert sum(memory.terms.values()) == pytest.approx(memory.allocated)
            assert memory.allocated == max(memory.phases.values())
            number += 1
    assert time.process_time() - began < 0.05 * number
