"""`diff`: two recipes compared by what they mean, from files or from git."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tunelang.recipe import kinds

OLD = """tune 1
model base = hf("acme/base", revision = "d149729")
data talks = hf("acme/talks", revision = "0aa91c3", format = chat, rows = 400 rows, hold_out = 5%)
data more = hf("acme/more", revision = "0aa91c4", format = chat, rows = 400 rows, hold_out = 5%)
mix both { talks = 75%, more = 25% }
defaults stage { train = 5 steps, length = 512 tokens }
stage chat: instruction_tuning { model = base, data = talks, weights = lora(rank = 16) }
stage last: instruction_tuning {
  model = chat
  data = both
  gate { loss < 3 }
}
profile tiny { every stage { train = 2 steps } }
"""


def diff(folder: Path, *words: str) -> tuple[int, list[str]]:
    command = [sys.executable, "-m", "tunelang", "diff", *words]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder)
    return done.returncode, (done.stdout + done.stderr).splitlines()


def changed(folder: Path, *swaps: tuple[str, str]) -> list[str]:
    """What is printed for two recipes, after the second had these replacements."""
    (folder / "a.tune").write_text(OLD)
    text = OLD
    for old, new in swaps:
        assert old in text
        text = text.replace(old, new)
    (folder / "b.tune").write_text(text)
    code, lines = diff(folder, "a.tune", "b.tune")
    assert code == 0, lines
    return [line for line in lines if not line.startswith(("time:", "cost:"))]


def test_layout_and_order_are_no_difference(tmp_path: Path) -> None:
    moved = ("stage chat: instruction_tuning {", "\n# ours\nstage chat: instruction_tuning {\n ")
    assert changed(tmp_path, moved, ("512 tokens", "0.512k tokens")) == ["no differences"]


def test_values_are_named(tmp_path: Path) -> None:
    """In the recipe's words; a field of a variant alone where the variant is the same."""
    swaps = [
        ("rank = 16", "rank = 64"),
        ("loss < 3", "loss < 2.5"),
        ("talks = 75%, more = 25%", "talks = 60%, more = 40%"),
    ]
    assert changed(tmp_path, *swaps) == [
        "mix both",
        "  talks: 75% → 60%",
        "  more: 25% → 40%",
        "stage chat",
        "  weights.rank: 16 → 64",
        "stage last",
        "  gate loss: < 3 → < 2.5",
        "changed: chat, last",
    ]


def test_a_value_that_falls_back_to_the_default(tmp_path: Path) -> None:
    lines = changed(tmp_path, (", weights = lora(rank = 16)", ""))
    assert lines[0] == "stage chat"
    assert lines[1].startswith("  weights: lora(")
    version = kinds.methods()["instruction_tuning"].version
    assert lines[1].endswith(f"→ full(masters = fp32) (default of instruction_tuning {version})")


def test_a_renamed_stage_is_reused(tmp_path: Path) -> None:
    """Equal keys are one result; who refers to it under its new name has not changed."""
    swaps = [("stage chat:", "stage talk:"), ("model = chat", "model = talk")]
    assert changed(tmp_path, *swaps) == [
        "stage chat → talk",
        "reused: last",
        "renamed, same key: chat → talk",
    ]


def test_added_and_removed(tmp_path: Path) -> None:
    third = "stage third: sft { model = last, data = more }\nprofile"
    lines = changed(tmp_path, ("profile", third.replace("sft", "instruction_tuning")))
    assert lines == ["stage third: added", "reused: chat, last", "added: third"]
    code, lines = diff(tmp_path, "b.tune", "a.tune", "--exit-code")
    assert code == 1 and "stage third: removed" in lines


def test_exit_code_and_profiles(tmp_path: Path) -> None:
    assert changed(tmp_path, ("train = 2 steps", "train = 3 steps")) == ["no differences"]
    assert diff(tmp_path, "a.tune", "b.tune", "--exit-code")[0] == 0
    code, lines = diff(tmp_path, "a.tune", "b.tune", "--exit-code", "--profile", "tiny")
    assert code == 1 and "  train: 2 steps → 3 steps" in lines


def test_mistakes_are_said(tmp_path: Path) -> None:
    (tmp_path / "a.tune").write_text(OLD)
    (tmp_path / "b.tune").write_text(OLD.replace("rank", "rnak"))
    code, lines = diff(tmp_path, "a.tune", "b.tune")
    assert code == 1 and lines[0].startswith("error[TL102]")
    code, lines = diff(tmp_path, "a.tune", "none.tune")
    assert code == 1 and lines[0].startswith("error[TL012]")


def test_an_upgrade_shows_in_the_defaults(tmp_path: Path) -> None:
    """The old side has the defaults of its lock: a recipe compared with itself shows the rest."""
    (tmp_path / "a.tune").write_text(OLD)
    command = [sys.executable, "-m", "tunelang", "lock", "a.tune"]
    assert subprocess.run(command, cwd=tmp_path, capture_output=True).returncode == 0
    assert diff(tmp_path, "a.tune", "a.tune")[1] == ["no differences"]
    lock = tmp_path / "a.lock"
    text = lock.read_text().replace("version = 1", "version = 0").replace('lr = "2e-5"', 'lr = "1"')
    lock.write_text(text)
    lines = diff(tmp_path, "a.tune", "a.tune")[1]
    assert "  lr: 1 → 2e-5 (default of instruction_tuning 0 → 1)" in lines
    assert "changed: chat, last" in lines


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A commit with the old recipe in a folder; the new one stands in the working copy."""
    (tmp_path / "recipes").mkdir()
    path = tmp_path / "recipes" / "a.tune"
    path.write_text(OLD)
    for words in (
        ["init", "-q"],
        ["add", "."],
        ["-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "one"],
    ):
        subprocess.run(["git", *words], cwd=tmp_path, check=True)
    path.write_text(OLD.replace("rank = 16", "rank = 64"))
    return tmp_path


def test_a_recipe_of_a_commit(repository: Path) -> None:
    """From the root as git counts, and from the folder of the recipe."""
    for folder, path in ((repository, "recipes/a.tune"), (repository / "recipes", "a.tune")):
        code, lines = diff(folder, f"HEAD:{path}", path)
        assert code == 0 and "  weights.rank: 16 → 64" in lines, lines
    assert diff(repository, "HEAD:recipes/a.tune", "HEAD:recipes/a.tune")[1] == ["no differences"]


@pytest.mark.parametrize("word", ["HEAD:no.tune", "nix:recipes/a.tune", "--help:a", "HEAD:"])
def test_what_git_does_not_have(repository: Path, word: str) -> None:
    code, lines = diff(repository, "--", word, "recipes/a.tune")
    assert code == 1 and lines[0].startswith("error["), lines


def test_outside_a_repository(tmp_path: Path) -> None:
    (tmp_path / "a.tune").write_text(OLD)
    code, lines = diff(tmp_path, "HEAD:a.tune", "a.tune")
    assert code == 1 and "this is no git repository" in lines[0]


def test_a_mistake_in_a_commit_names_it(repository: Path) -> None:
    """The place carries the commit, so that nobody looks for it in the working copy."""
    path = repository / "recipes" / "a.tune"
    path.write_text(OLD.replace("rank", "rnak"))
    subprocess.run(
        ["git", "-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qam", "two"],
        cwd=repository,
        check=True,
    )
    code, lines = diff(repository, "HEAD:recipes/a.tune", "HEAD~1:recipes/a.tune")
    assert code == 1
    assert any("recipes/a.tune@" in line for line in lines)
