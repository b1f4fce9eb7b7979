"""Imports stay inside the project, by `..` and by links alike."""

from __future__ import annotations

from pathlib import Path

import pytest

from tunelang.recipe.load import load, project_of

OUTSIDE = "tune 1\nlet secret = 1\n"


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A recipe in a repository, and a file beside the repository."""
    (tmp_path / "outside.tune").write_text(OUTSIDE)
    folder = tmp_path / "project" / "recipes"
    folder.mkdir(parents=True)
    (tmp_path / "project" / ".git").mkdir()
    (tmp_path / "project" / "lib.tune").write_text(OUTSIDE)
    monkeypatch.chdir(folder)
    return folder / "a.tune"


def found(recipe: Path, place: str) -> list[str]:
    recipe.write_text(f'tune 1\nimport "{place}" as other\nlet x = other.secret\n')
    return [each.message for each in load(recipe)[1]]


def test_the_repository_may_be_imported(recipe: Path) -> None:
    """`..` is fine as long as it ends inside."""
    assert found(recipe, "../lib.tune") == []


def test_what_lies_outside_is_not_read(recipe: Path) -> None:
    """One finding, whether the file exists or not."""
    said = ["`../../outside.tune` lies outside the project project"]
    assert found(recipe, "../../outside.tune") == said
    assert "lies outside" in found(recipe, "/etc/hostname")[0]
    assert "lies outside" in found(recipe, "../../none.tune")[0]


def test_links_do_not_lead_out(recipe: Path) -> None:
    """A link inside the project to a file outside is outside."""
    (recipe.parent / "link.tune").symlink_to(recipe.parents[2] / "outside.tune")
    assert "lies outside" in found(recipe, "link.tune")[0]


def test_without_a_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The working folder is the project where the recipe is below it, else its own folder."""
    path = tmp_path / "recipes" / "a.tune"
    path.parent.mkdir()
    monkeypatch.chdir(tmp_path)
    assert project_of(path) == tmp_path
    monkeypatch.chdir("/")
    assert project_of(path) in (Path("/"), path.parent)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert project_of(path) == path.parent
