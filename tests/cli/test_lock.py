"""`lock` and `check --locked`: what was locked is held to, and each thing that moved is named."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tunelang.diagnostic import Diagnostic
from tunelang.plan.lock import drift, text_of
from tunelang.plan.pins import pins_of
from tunelang.recipe import hub
from tunelang.recipe.load import load
from tunelang.source import Source
from tunelang.syntax.format import format

COMMIT = "c" * 40
PARTS = 'tune 1\nhardware pod { gpu = "H100-80GB" }\n'
TEXT = """tune 1
import "./parts.tune" as parts
model base = hf("acme/base", revision = "main", licence = "apache-2.0")
data talks = files("rows.jsonl", format = chat, hold_out = 2 rows)
stage chat: instruction_tuning {
  model = base
  data = talks
  train = 2 steps
  length = 64 tokens
  on = parts.pod
}
profile small {
  base = hf("acme/small", revision = "abcdef1")
}
"""


def rows(count: int) -> str:
    said = [
        [{"role": "user", "content": f"{i}?"}, {"role": "assistant", "content": f"{i}!"}]
        for i in range(count)
    ]
    return "".join(json.dumps({"messages": each}) + "\n" for each in said)


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A recipe with an import, rows of its own, and a branch that the hub's cache knows."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    cached = tmp_path / "hub" / "models--acme--base"
    (cached / "refs").mkdir(parents=True)
    (cached / "refs" / "main").write_text(COMMIT)
    (cached / "snapshots" / COMMIT).mkdir(parents=True)
    (cached / "snapshots" / COMMIT / "chat_template.jinja").write_text("{{ messages }}")
    (tmp_path / "parts.tune").write_text(PARTS)
    (tmp_path / "rows.jsonl").write_text(rows(20))
    (tmp_path / "r.tune").write_text(TEXT)
    return tmp_path / "r.tune"


def tunelang(*words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tunelang", *words]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, env=os.environ)


def write_lock(recipe: Path) -> None:
    pins = pins_of(recipe)
    assert not pins.found
    recipe.with_suffix(".lock").write_text(text_of(pins.lock()))


def said(found: list[Diagnostic]) -> str:
    assert {(each.code, each.name) for each in found} <= {("TL802", "stale-lock")}
    return "\n".join(each.message for each in found)


def test_everything_is_written_down(recipe: Path) -> None:
    """The command writes sorted TOML, says what it could not resolve, and a second run is still."""
    done = tunelang("lock", "r.tune", folder=recipe.parent)
    assert (done.returncode, done.stdout) == (0, "wrote r.lock\n"), done.stderr
    assert "`abcdef1` of `acme/small`" in done.stderr
    lock = tomllib.loads((recipe.parent / "r.lock").read_text())
    assert lock["models"] == {
        "hf acme/base@main": COMMIT,
        "hf acme/small@abcdef1": "abcdef1",
    }
    assert list(lock["imports"]) == ["parts.tune"]
    assert list(lock["data"]) == ["files rows.jsonl"]
    assert list(lock["templates"]) == ["hf acme/base@main"]
    assert lock["methods"]["instruction_tuning"]["version"] == 1
    assert lock["methods"]["instruction_tuning"]["defaults"]["lr"] == "2e-5"
    again = tunelang("lock", "r.tune", folder=recipe.parent)
    assert again.stdout == "r.lock is up to date\n"
    assert not list(recipe.parent.glob(".r.lock*"))


def test_the_folder_of_the_command_does_not_count(recipe: Path) -> None:
    """The same lock from the recipe's folder and from elsewhere."""
    assert tunelang("lock", "r.tune", folder=recipe.parent).returncode == 0
    here = recipe.with_suffix(".lock").read_text()
    assert "up to date" in tunelang("lock", str(recipe), folder=Path("/")).stdout
    assert recipe.with_suffix(".lock").read_text() == here


def test_a_recipe_with_mistakes_is_not_locked(recipe: Path) -> None:
    recipe.write_text(TEXT.replace("train", "trian"))
    done = tunelang("lock", "r.tune", folder=recipe.parent)
    assert done.returncode == 1 and "TL102" in done.stderr
    assert not recipe.with_suffix(".lock").exists()


def test_a_place_that_cannot_be_written(recipe: Path) -> None:
    """A finding and no traceback; nothing is left behind."""
    (recipe.parent / "r.lock").mkdir()
    done = tunelang("lock", "r.tune", folder=recipe.parent)
    assert done.returncode == 1 and "`r.lock` cannot be written" in done.stderr
    assert not list(recipe.parent.glob(".r.lock*"))


def test_locked_holds_the_recipe_to_its_lock(recipe: Path) -> None:
    """A branch is an error under --locked; pinned and locked, the recipe is clean."""
    recipe.write_text(TEXT.replace('"main"', f'"{COMMIT}"'))
    missing = tunelang("check", "--locked", "r.tune", folder=recipe.parent)
    assert missing.returncode == 1 and "there is no `r.lock`" in missing.stdout
    assert tunelang("lock", "r.tune", folder=recipe.parent).returncode == 0
    clean = tunelang("check", "--locked", "r.tune", folder=recipe.parent)
    assert clean.returncode == 0, clean.stdout
    recipe.write_text(TEXT)
    assert tunelang("check", "r.tune", folder=recipe.parent).returncode == 0
    moved = tunelang("check", "--locked", "r.tune", folder=recipe.parent)
    assert moved.returncode == 1
    assert "error[TL801]" in moved.stdout and "error[TL802]" in moved.stdout


def test_what_moved_is_named(recipe: Path) -> None:
    """One finding a thing, in the recipe's words."""
    write_lock(recipe)
    assert drift(recipe) == []
    folder = recipe.parent
    (folder / "parts.tune").write_text(PARTS.replace("H100-80GB", "A100-80GB"))
    assert said(drift(recipe)) == "`parts.tune` is not the text that was locked"
    (folder / "parts.tune").write_text(PARTS)
    (folder / "rows.jsonl").write_text(rows(21))
    assert said(drift(recipe)) == "`talks` has other rows than those that were locked"
    (folder / "rows.jsonl").write_text(rows(20))
    (folder / "hub" / "models--acme--base" / "refs" / "main").write_text("d" * 40)
    assert said(drift(recipe)) == "`main` of `acme/base` has moved"
    recipe.write_text(TEXT.replace("2 steps", "3 steps"))
    (folder / "hub" / "models--acme--base" / "refs" / "main").unlink()  # not known any more
    assert said(drift(recipe)) == "`r.tune` has changed since it was locked"
    recipe.write_text(TEXT.replace("abcdef1", "abcdef2"))
    assert said(drift(recipe)) == "`base` is at `abcdef2`, and was locked at `abcdef1`"
    recipe.write_text(TEXT.replace("acme/small", "acme/tiny"))
    assert said(drift(recipe)).splitlines() == [
        "`base` is a model (`hf acme/tiny@abcdef1`) that `r.lock` does not name",
        "the lock names `hf acme/small@abcdef1`, and this recipe no longer does",
    ]


def test_another_version_of_a_method(recipe: Path) -> None:
    """Defaults belong to a version: the ones that changed are listed."""
    write_lock(recipe)
    lock = recipe.with_suffix(".lock")
    old = lock.read_text().replace("version = 1", "version = 0").replace('"2e-5"', '"5e-5"')
    lock.write_text(old)
    (found,) = drift(recipe)
    assert found.message == "`instruction_tuning` is version 1 here, and 0 in the lock"
    assert "lr: 5e-5 → 2e-5" in found.help


@pytest.mark.parametrize("text", ["lock = 2\n", "no toml", "lock = 1\nmodels = 3\n", "\0"])
def test_a_lock_that_cannot_be_read(recipe: Path, text: str) -> None:
    recipe.with_suffix(".lock").write_text(text)
    (found,) = drift(recipe)
    assert found.code == "TL802" and "`r.lock`" in found.message
    assert load(recipe)[1] == []  # and it stops nobody who does not ask for it


def test_a_lock_holds_the_hash_of_a_remote_import(recipe: Path, tmp_path: Path) -> None:
    """With it the import needs no hash inline; another text is found without --locked."""
    folder = tmp_path / "hub" / "datasets--tune--hardware"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "2.1.0").write_text(COMMIT)
    file = folder / "snapshots" / COMMIT / hub.FILE
    file.parent.mkdir(parents=True)
    file.write_text(PARTS)
    recipe.write_text(TEXT.replace("./parts.tune", "hub:tune/hardware@2.1.0"))
    assert [each.code for each in load(recipe)[1]] == ["TL110"]
    write_lock(recipe)
    assert load(recipe)[1] == []
    file.write_text(PARTS.replace("H100-80GB", "A100-80GB"))
    assert [each.code for each in load(recipe)[1]] == ["TL111"]
    write_lock(recipe)
    assert load(recipe)[1] == []


comments = st.lists(st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"])), max_size=4)


@given(comments, st.integers(0, 20), st.booleans())
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_layout_and_comments_are_not_locked(
    recipe: Path, texts: list[str], start: int, formatted: bool
) -> None:
    """Neither in the recipe nor in what it imports."""
    recipe.write_text(TEXT)
    (recipe.parent / "parts.tune").write_text(PARTS)
    before = text_of(pins_of(recipe).lock())
    for path, text in ((recipe, TEXT), (recipe.parent / "parts.tune", PARTS)):
        lines = text.splitlines()
        at = min(start, len(lines))
        changed = [*lines[:at], *(f"   # {each}" for each in texts), "", *lines[at:]]
        joined = "\n".join(changed) + "\n"
        path.write_text(format(Source("r.tune", joined)) if formatted else joined)
    assert text_of(pins_of(recipe).lock()) == before


def test_the_page_tells_what_the_commands_print(tmp_path: Path) -> None:
    """The session on docs/language.md, run line by line."""
    page = (Path(__file__).parents[2] / "docs" / "language.md").read_text()
    section = page.partition("\n## Locks")[2].partition("\n## Layers")[0]
    blocks = re.findall(r"```(\w+)\n(.*?)```", section, re.DOTALL)
    texts = [text for language, text in blocks if language == "tune"]
    (tmp_path / "chat.tune").write_text(texts[0])
    (session,) = [text for language, text in blocks if language == "console"]
    program = f"{shlex.quote(sys.executable)} -m tunelang"
    for part in session.split("$ ")[1:]:
        command, _, printed = part.partition("\n")
        done = subprocess.run(
            command.replace("tunelang", program, 1),
            shell=True,
            capture_output=True,
            text=True,
            cwd=tmp_path,
        )
        assert done.stdout + done.stderr == printed.rstrip("\n") + "\n" * bool(printed.strip())
