"""What a safe fix promises: after all of them every stage key is what it was, in every profile."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from cases import skip_without_model

from tunelang.diagnostic import Fix
from tunelang.plan import findings
from tunelang.recipe.load import read_source
from tunelang.recipe.overrides import Settings
from tunelang.rules import fixes

ROOT = Path(__file__).parents[1]
RECIPES = sorted((ROOT / "recipes").glob("*.tune"))
ROUNDS = 10  # edits that touch wait for the next round


def keys(path: Path) -> list[list[str]]:
    """The stage keys under no profile and under each."""
    names = re.findall(r"^profile (\w+)", path.read_text(), re.MULTILINE)
    plans = [findings.of_file(path, Settings(name)).plan for name in (None, *names)]
    return [[step.key for step in plan.steps] for plan in plans if plan]


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_safe_fixes_change_no_key(recipe: Path, tmp_path: Path) -> None:
    """Hints included: defaults that are repeated go, and the layout is mended."""
    skip_without_model(recipe.read_text())
    shutil.copytree(ROOT / "recipes" / "data", tmp_path / "data")
    path = tmp_path / recipe.name
    spoilt = recipe.read_text().replace(" = ", "  =  ", 3)
    path.write_text(spoilt)
    before = keys(path)
    assert before
    wanted: list[Fix] = []
    for _ in range(ROUNDS):
        source, _ = read_source(path, str(path))
        assert source
        wanted = fixes.chosen(findings.of_every_profile(path).found, source, unsafe=False)
        if not wanted:
            break
        path.write_text(fixes.apply(source, wanted)[0])
    assert not wanted
    assert path.read_text() != spoilt
    assert "{}" not in path.read_text()
    assert keys(path) == before
