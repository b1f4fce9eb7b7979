"""Models from scratch: one config.json for the worker that builds and the planner that counts."""

from __future__ import annotations

from typing import Any

import pytest

from tunelang.estimate import scratch
from tunelang.estimate.config import from_config
from tunelang.estimate.parameters import count
from tunelang.sources.places.scratch import DENSE, MIXTURES

SHAPE: dict[str, int | None] = {
    "hidden": 64,
    "layers": 3,
    "heads": 4,
    "kv_heads": 2,
    "ffn": 32,
    "vocabulary": 384,
    "positions": 128,
}


@pytest.mark.parametrize("family", [*DENSE, *MIXTURES])
def test_the_plan_counts_what_the_worker_builds(family: str) -> None:
    """To the parameter, for every architecture that can be made."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    more = {"experts": 6, "active": 3} if family in MIXTURES else {}
    config = scratch.config(family, {**SHAPE, **more})
    architecture = from_config(config, family)
    assert architecture
    settings: Any = transformers.AutoConfig.for_model(**config)
    with torch.device("meta"):
        model = transformers.AutoModelForCausalLM.from_config(settings)
    assert count(architecture) == sum(value.numel() for value in model.parameters())
    if family in MIXTURES:
        assert architecture.experts
        assert (architecture.experts.count, architecture.experts.active) == (6, 3)


@pytest.mark.parametrize(
    ("family", "change", "reason"),
    [
        ("llama", {"heads": 3}, "heads of even width"),
        ("llama", {"kv_heads": 3}, "multiple of `kv_heads`"),
        ("llama", {"experts": 4}, "llama has no experts"),
        ("mixtral", {"active": 9}, "9 of 8 experts"),
        ("mixtral", {"experts": 4, "active": 5}, "5 of 4 experts"),
        ("deepseek_v2", {"hidden": 24}, "multiple of 4"),
    ],
)
def test_shapes_that_cannot_be_are_told(family: str, change: dict[str, int], reason: str) -> None:
    """Before anything is built."""
    assert reason in scratch.impossible(family, {**SHAPE, **change})


@pytest.mark.parametrize("family", [*DENSE, *MIXTURES])
def test_usual_shapes_can_be(family: str) -> None:
    """The shapes above are possible in every family."""
    assert scratch.impossible(family, SHAPE) == ""
