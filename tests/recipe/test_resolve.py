"""Layers, origins, names and imports: what a recipe means."""

from __future__ import annotations

from pathlib import Path

import pytest

from tunelang.diagnostic import Diagnostic, has_errors
from tunelang.recipe.model import Recipe
from tunelang.recipe.overrides import Settings
from tunelang.recipe.resolve import resolve
from tunelang.recipe.show import show
from tunelang.units import Quantity

RECIPE = """tune 1
param seed: int = 17
let window = 512 tokens
model base = hf("a/b", revision = "d149729")
data talks = hf("a/c", revision = "d149729", format = chat, rows = 100 rows, hold_out = 5%)

defaults stage { length = window, lr = 3e-5, loss_on = all }

stage chat: instruction_tuning {
  model = base
  data = talks
  weights = lora(rank = 8)
  seed = seed
}

stage wide extends chat {
  weights.rank = 64
  lr = 1e-4
}

profile small {
  window = 64 tokens
  chat { lr = 2e-4 }
  every stage { train = 3 steps }
}

profile smaller extends small {
  chat { lr = 5e-4 }
}
"""


def settle(folder: Path, text: str = RECIPE, **settings: object) -> tuple[Recipe, list[Diagnostic]]:
    path = folder / "r.tune"
    path.write_text(text)
    resolved = resolve(path, Settings(**settings))  # type: ignore[arg-type]
    assert resolved.recipe
    return resolved.recipe, resolved.found


def test_the_ladder_of_layers(tmp_path: Path) -> None:
    """Default, defaults, extends, declaration, profile, --set: each beats those before it."""
    plain, found = settle(tmp_path)
    assert not found
    chat, wide = plain.stages["chat"], plain.stages["wide"]
    assert chat.values["max_grad_norm"].origin == "default of instruction_tuning 1"
    assert (chat.get("lr"), chat.values["lr"].origin) == (3e-5, "defaults stage")
    assert (wide.get("lr"), wide.values["lr"].origin) == (1e-4, "stage wide")
    assert wide.get("weights").get("rank") == 64
    assert wide.values["seed"].origin == "extends chat"
    small, _ = settle(tmp_path, profile="small")
    assert (small.stages["chat"].get("lr"), small.stages["wide"].get("lr")) == (2e-4, 1e-4)
    assert small.stages["wide"].get("train") == Quantity(3, "steps")
    most, _ = settle(tmp_path, profile="smaller", sets={"chat.lr": "7e-4"})
    assert most.stages["chat"].get("lr") == 7e-4
    assert most.stages["chat"].values["lr"].origin == "--set"


def test_lets_and_params_follow_their_overrides(tmp_path: Path) -> None:
    """A profile's `window` and `--param seed` reach every place that names them."""
    recipe, found = settle(tmp_path, profile="smaller", params={"seed": "3"})
    assert not found
    assert recipe.stages["chat"].get("length") == Quantity(64, "tokens")
    assert recipe.stages["wide"].get("seed") == 3


@pytest.mark.parametrize(
    ("settings", "code"),
    [
        ({"profile": "smal"}, "TL101"),
        ({"sets": {"chta.lr": "1"}}, "TL116"),
        ({"sets": {"chat.lrr": "1"}}, "TL102"),
        ({"sets": {"chat.lr": "= ="}}, "TL201"),
        ({"params": {"sead": "3"}}, "TL116"),
        ({"params": {"seed": "many"}}, "TL101"),
        ({"params": {"seed": "2.5"}}, "TL209"),
    ],
)
def test_mistakes_on_the_command_line_are_findings(
    tmp_path: Path, settings: dict[str, object], code: str
) -> None:
    """A profile, path or param that matches nothing is an error, never ignored."""
    _, found = settle(tmp_path, **settings)
    assert code in [each.code for each in found]


def test_show_means_the_same_as_the_recipe(tmp_path: Path) -> None:
    """What `show` prints resolves without findings to the same values."""
    recipe, _ = settle(tmp_path, profile="small")
    again, found = settle(tmp_path, show(recipe, origins=False))
    assert not has_errors(found)
    assert show(again, origins=False) == show(recipe, origins=False)
    assert again.stages["wide"].get("weights").get("rank") == 64


def test_imports_bring_declarations(tmp_path: Path) -> None:
    """Names of an imported file are `alias.name`; its own lets stay its own."""
    (tmp_path / "parts.tune").write_text(
        'tune 1\nlet much = 90%\ndata talks = hf("a/c", revision = "d149729", format = chat, '
        "rows = 100 rows, hold_out = much)\n"
    )
    text = (
        'tune 1\nimport "./parts.tune" as parts\nmodel base = hf("a/b", revision = "d149729")\n'
        "stage chat: instruction_tuning { model = base, data = parts.talks }\n"
    )
    recipe, found = settle(tmp_path, text)
    assert not found
    assert recipe.declared["parts.talks"].get("hold_out") == 0.9


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ('import "./r.tune" as me', "TL112"),
        ('import "./missing.tune" as parts', "TL012"),
        ('import "hub:tune/hardware@1.0.0" as hw', "TL012"),
        ('import "./other.tune" as o sha256:' + "0" * 64, "TL111"),
    ],
)
def test_imports_that_cannot_be_followed(tmp_path: Path, line: str, code: str) -> None:
    """A circle, a missing file, the hub, and a text that is not what was agreed."""
    (tmp_path / "other.tune").write_text("tune 1\nlet a = 1\n")
    _, found = settle(tmp_path, f"tune 1\n{line}\n")
    assert code in [each.code for each in found]


def test_a_path_into_a_value_without_a_name(tmp_path: Path) -> None:
    """`weights.rank = 64` over `lora(16)`: the same field, not a second one."""
    text = (
        'tune 1\nmodel base = hf("a/b", revision = "d149729")\n'
        'data talks = hf("a/c", revision = "d149729", format = chat, rows = 10 rows)\n'
        "stage chat: instruction_tuning { model = base, data = talks, weights = lora(16) }\n"
        "stage wide extends chat { weights.rank = 64 }\n"
    )
    recipe, found = settle(tmp_path, text)
    assert not has_errors(found)
    assert recipe.stages["wide"].get("weights").get("rank") == 64
