"""`freeze`: hashes inline, from the innermost file outwards, the same when done twice."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tunelang.recipe.load import load

RECIPE = """tune 1
import "./hardware.tune" as hw  # ours
import "./data/talks.tune" as talks
stage chat: instruction_tuning { on = hw.pod }
"""
HARDWARE = 'tune 1\nhardware pod { gpu = "H100-80GB" }\n'
TALKS = 'tune 1\nimport "../hardware.tune" as hw\nhardware two extends hw.pod { count = 2 }\n'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    (tmp_path / "r.tune").write_text(RECIPE)
    (tmp_path / "hardware.tune").write_text(HARDWARE)
    (tmp_path / "data" / "talks.tune").write_text(TALKS)
    return tmp_path


def freeze(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tunelang", "freeze", "r.tune", *options]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder)


def test_every_import_gets_its_hash(folder: Path) -> None:
    """Relative ones too, in the files below as well, before the comment; then all is verified."""
    before = freeze(folder, "--verify")
    assert before.returncode == 1 and before.stderr.count("error[TL110]") == 3
    done = freeze(folder)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 3
    text = (folder / "r.tune").read_text()
    assert text.count(" sha256:") == 2 and text.splitlines()[1].endswith("  # ours")
    assert (folder / "data" / "talks.tune").read_text().count(" sha256:") == 1
    assert (folder / "hardware.tune").read_text() == HARDWARE
    assert freeze(folder, "--verify").returncode == 0
    assert load(folder / "r.tune")[1] == []


def test_twice_is_once(folder: Path) -> None:
    freeze(folder)
    text = (folder / "r.tune").read_text()
    assert freeze(folder).stdout == "r.tune is frozen\n"
    assert (folder / "r.tune").read_text() == text


def test_what_changed_deep_inside_is_found(folder: Path) -> None:
    """The hashes are a tree: a file that changed is wrong where it is imported, and all above."""
    freeze(folder)
    (folder / "hardware.tune").write_text(HARDWARE.replace("H100", "A100"))
    wrong = freeze(folder, "--verify")
    assert wrong.returncode == 1 and wrong.stderr.count("error[TL111]") == 2
    done = freeze(folder)
    assert done.stdout.count("replaced by") == 3
    assert freeze(folder, "--verify").returncode == 0


def test_layout_is_no_change(folder: Path) -> None:
    freeze(folder)
    (folder / "hardware.tune").write_text('tune 1\n\n# mine\nhardware pod {\n gpu="H100-80GB"\n}\n')
    assert freeze(folder, "--verify").returncode == 0


def test_a_missing_import_is_said(folder: Path) -> None:
    (folder / "hardware.tune").unlink()
    done = freeze(folder)
    assert done.returncode == 1 and "TL012" in done.stderr
    assert (folder / "r.tune").read_text() == RECIPE


def test_a_recipe_without_imports_is_frozen(tmp_path: Path) -> None:
    (tmp_path / "r.tune").write_text(HARDWARE)
    assert freeze(tmp_path).stdout == "r.tune is frozen\n"
