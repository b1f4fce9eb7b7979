"""Imports from the hub: read from its cache on this machine, by tag, under a hash."""

from __future__ import annotations

from pathlib import Path

import pytest

from tunelang.diagnostic import Diagnostic
from tunelang.recipe import hub
from tunelang.recipe.load import load
from tunelang.recipe.resolve import resolve
from tunelang.rules import fixes

PARTS = 'tune 1\nhardware h100 { gpu = "H100-80GB" }\n'
LINE = 'import "hub:tune/hardware@2.1.0" as hw'


@pytest.fixture
def cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file as huggingface_hub would have left it."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    folder = tmp_path / "hub" / "datasets--tune--hardware"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "2.1.0").write_text("a" * 40)
    file = folder / "snapshots" / ("a" * 40) / hub.FILE
    file.parent.mkdir(parents=True)
    file.write_text(PARTS)
    return file


def found_in(folder: Path, line: str) -> list[Diagnostic]:
    recipe = folder / "recipe.tune"
    recipe.write_text(f"tune 1\n{line}\nhardware pod extends hw.h100 {{ count = 8 }}\n")
    return resolve(recipe).found


def test_a_hash_makes_it_usable(cached: Path, tmp_path: Path) -> None:
    """Without a hash it is an error with a safe fix; with it the declarations are there."""
    (found,) = found_in(tmp_path, LINE)
    assert (found.code, found.name) == ("TL110", "unhashed-import")
    assert found.fix and found.fix.safe
    text, _ = fixes.apply(found.fix.edits[0].span.source, [found.fix])
    (tmp_path / "recipe.tune").write_text(text)
    resolved = resolve(tmp_path / "recipe.tune")
    assert resolved.found == []
    assert resolved.recipe and resolved.recipe.declared["pod"].get("gpu") == "H100-80GB"


def test_a_changed_file_is_found(cached: Path, tmp_path: Path) -> None:
    """The hash is of the text that was agreed; comments and layout are no part of it."""
    (found,) = found_in(tmp_path, LINE)
    assert found.fix
    line = LINE + found.fix.edits[0].text
    cached.write_text('tune 1\n\n# a comment\nhardware h100 {\n  gpu = "H100-80GB"\n}\n')
    assert found_in(tmp_path, line) == []
    cached.write_text(PARTS.replace("H100", "A100"))
    assert [each.code for each in found_in(tmp_path, line)] == ["TL111"]


@pytest.mark.parametrize("place", ["hub:tune/hardware@9.9.9", "hub:hardware", "hub:a/b/c@1"])
def test_what_is_not_here_is_said(cached: Path, tmp_path: Path, place: str) -> None:
    """Nothing is downloaded by a check."""
    found = found_in(tmp_path, f'import "{place}" as hw')
    assert found[0].code == "TL012"
    assert place in found[0].message


def test_names_of_the_file_in_messages(cached: Path, tmp_path: Path) -> None:
    """A mistake in the imported file is shown at its place on the hub."""
    cached.write_text(PARTS + "hardware bad { cuont = 3 }\n")
    found = found_in(tmp_path, LINE)
    scope, _ = load(tmp_path / "recipe.tune")
    assert scope
    assert "hub:tune/hardware@2.1.0" in {e.at.span.source.name for e in found if e.at}
