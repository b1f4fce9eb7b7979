"""Adapters as models of their own: whose they are is known before anything runs."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest

from tunelang.plan import findings
from tunelang.sources import adapters

HEAD = """tune 1
model small = scratch(tokenizer = ["t.txt"], hidden = 32, layers = 2)
model mine = adapter("a", base = small)
data texts = files("t.txt", format = text)
"""
STAGE = """stage more: domain_adaptation {
  model = mine
  data = texts
  train = 4 steps
}
"""


def adapter(folder: Path, shapes: dict[str, list[int]], **config: str) -> None:
    """A folder with a header and no numbers: shapes are all that is looked at."""
    folder.mkdir(exist_ok=True)
    settings = {"peft_type": "LORA", "base_model_name_or_path": None, **config}
    (folder / adapters.CONFIG).write_text(json.dumps(settings))
    header = json.dumps({name: {"shape": shape} for name, shape in shapes.items()}).encode()
    (folder / adapters.WEIGHTS).write_bytes(struct.pack("<Q", len(header)) + header)


def name(layer: int, side: str) -> str:
    return f"base_model.model.model.layers.{layer}.self_attn.q_proj.lora_{side}.weight"


def said(folder: Path) -> list[str]:
    (folder / "t.txt").write_text("a cat sat on the mat\n" * 40)
    path = folder / "r.tune"
    path.write_text(HEAD + STAGE)
    return [f"{each.code} {each.message}" for each in findings.of_every_profile(path).found]


@pytest.mark.parametrize(
    ("shapes", "word"),
    [
        ({name(0, "A"): [4, 48], name(0, "B"): [32, 4]}, "`q_proj` is 48 wide"),
        ({name(0, "A"): [4, 32], name(0, "B"): [64, 4]}, "`q_proj` is 64 wide"),
        ({name(5, "A"): [4, 32], name(5, "B"): [32, 4]}, "it has 6 layers"),
    ],
)
def test_other_shapes_are_another_models(
    shapes: dict[str, list[int]], word: str, tmp_path: Path
) -> None:
    """TL411 says which layer gives it away."""
    adapter(tmp_path / "a", shapes)
    assert any(each.startswith("TL411") and word in each for each in said(tmp_path))


def test_an_adapter_of_its_base_plans(tmp_path: Path) -> None:
    """Nothing is said of one that fits; what is no adapter is TL322."""
    adapter(tmp_path / "a", {name(1, "A"): [4, 32], name(1, "B"): [32, 4]})
    assert not [each for each in said(tmp_path) if each.startswith(("TL411", "TL322"))]
    (tmp_path / "a" / adapters.WEIGHTS).write_bytes(b"\xff" * 20)
    assert [each for each in said(tmp_path) if each.startswith("TL322") and "damaged" in each]
    (tmp_path / "a" / adapters.WEIGHTS).unlink()
    assert [each for each in said(tmp_path) if each.startswith("TL322")]
