"""Sweeps: what the axes are, which points they make, and what is wrong with them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tunelang.recipe.model import Sweep
from tunelang.recipe.overrides import Settings
from tunelang.recipe.resolve import Resolved, resolve

RECIPE = """tune 1
param rate: number = 1e-5
model base = hf("Qwen/Qwen2.5-0.5B", revision = "060db64")
data talks = hf("a/talks", revision = "0aa91c3", format = chat, rows = 1k rows, hold_out = 5%)
stage chat: instruction_tuning {
  model = base
  data = talks
  lr = rate
}
"""


def settled(folder: Path, sweep: str) -> Resolved:
    path = folder / "recipe.tune"
    path.write_text(RECIPE + sweep)
    return resolve(path)


def sweep_of(folder: Path, text: str) -> Sweep:
    resolved = settled(folder, text)
    assert resolved.found == [] and resolved.recipe
    return resolved.recipe.sweeps["search"]


@pytest.mark.parametrize(
    ("mode", "points"),
    [
        ("", [("1e-5", "1"), ("1e-5", "2"), ("2e-5", "1"), ("2e-5", "2")]),
        ("mode = grid", [("1e-5", "1"), ("1e-5", "2"), ("2e-5", "1"), ("2e-5", "2")]),
        ("mode = list", [("1e-5", "1"), ("2e-5", "2")]),
    ],
)
def test_points(tmp_path: Path, mode: str, points: list[tuple[str, str]]) -> None:
    """A grid is the product of its axes, a list takes them side by side."""
    axes = "axes { rate = [1e-5, 2e-5], chat.seed = [1, 2] }"
    sweep = sweep_of(tmp_path, f"sweep search {{\n  {axes}\n  {mode}\n}}\n")
    found = [tuple(value.span.text for value in point.values()) for point in sweep.points()]
    assert found == points


def test_random_points_are_drawn_once(tmp_path: Path) -> None:
    """Points are drawn without replacement, the same ones for the same seed."""
    text = "sweep search {\n  axes { chat.seed = [1, 2, 3, 4, 5, 6] }\n  mode = random(4)\n}\n"
    sweep = sweep_of(tmp_path, text)
    drawn = [point["chat.seed"].span.text for point in sweep.points()]
    assert len(set(drawn)) == 4
    assert drawn == [point["chat.seed"].span.text for point in sweep.points()]


def test_a_point_is_a_recipe(tmp_path: Path) -> None:
    """Its values lie over the recipe's, below `--set`."""
    sweep = sweep_of(tmp_path, "sweep search {\n  axes { rate = [3e-5] }\n}\n")
    (point,) = sweep.points()
    recipe = resolve(tmp_path / "recipe.tune", Settings(point=point)).recipe
    assert recipe and recipe.stages["chat"].get("lr") == 3e-5
    over = Settings(point=point, sets={"chat.lr": "4e-5"})
    recipe = resolve(tmp_path / "recipe.tune", over).recipe
    assert recipe and recipe.stages["chat"].get("lr") == 4e-5


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("axes { chatt.lr = [1e-5] }", "TL116"),
        ("axes { chat.lrr = [1e-5] }", "TL102"),
        ("axes { chat.lr = 1e-5 }", "TL201"),
        ("axes { chat.lr = [1e-5, 2 tokens] }", "TL202"),
        ("axes { rate = [1, 2], chat.seed = [1] }\n  mode = list", "TL201"),
        ("mode = grid", "TL501"),
        ("axes { chat.lr = [1e-5] }\n  pick = max(chat.gate.lss)", "TL101"),
        ("axes { chat.lr = [1e-5] }\n  pick = best(chat.gate.loss)", "TL210"),
        ("axes { chat.lr = [1e-5] }\n  budegt = $3", "TL102"),
    ],
)
def test_mistakes(tmp_path: Path, body: str, code: str) -> None:
    """Each is found once, inside the sweep."""
    resolved = settled(tmp_path, f"sweep search {{\n  {body}\n}}\n")
    errors = [each for each in resolved.found if each.severity == "error"]
    assert [each.code for each in errors] == [code]
    assert errors[0].at and errors[0].at.span.start > len(RECIPE)
