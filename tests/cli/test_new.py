"""`tunelang new`: every template checks clean where it was written, and nothing is overwritten."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tunelang.cli.new import DATA, templates
from tunelang.plan.findings import of_every_profile
from tunelang.recipe import kinds
from tunelang.source import Source
from tunelang.syntax.format import format


def new(*words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tunelang", "new", *words]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder)


@pytest.mark.parametrize("name", templates())
def test_a_template_checks_clean(name: str, tmp_path: Path) -> None:
    """No error and no warning, in the house style, with every file that it reads."""
    done = new(name, "r.tune", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    path = tmp_path / "r.tune"
    text = path.read_text()
    found = of_every_profile(path)
    assert [each.message for each in found.found if each.severity != "hint"] == []
    trained = kinds.methods()
    assert found.plan
    for step in found.plan.steps:
        known = trained.get(step.method)
        assert step.schedule or known is None or not known.trains or known.modes
    assert format(Source("r.tune", text)) == text
    assert all((tmp_path / each).is_file() for each in DATA.findall(text))


def test_every_method_has_a_template() -> None:
    """And one more shows the whole stack."""
    assert set(templates()) == {*kinds.methods(), "rlhf"}


def test_templates_are_listed(tmp_path: Path) -> None:
    """Without a name: one line each, saying what it is."""
    lines = new(folder=tmp_path).stdout.splitlines()
    assert [line.split()[0] for line in lines] == sorted(templates())
    assert all(len(line.split()) > 4 for line in lines)


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    """Neither a recipe nor rows of one's own; nothing is written then."""
    assert new("sft", folder=tmp_path).returncode == 0
    (tmp_path / "sft.tune").write_text("mine")
    again = new("sft", folder=tmp_path)
    assert (again.returncode, (tmp_path / "sft.tune").read_text()) == (1, "mine")
    assert "`sft.tune` is there already" in again.stderr
    (tmp_path / "other" / "data").mkdir(parents=True)
    (tmp_path / "other" / "data" / "talks.jsonl").write_text("mine")
    refused = new("instruction_tuning", "other", folder=tmp_path)
    assert refused.returncode == 1
    assert not (tmp_path / "other" / "instruction_tuning.tune").exists()


def test_templates_share_their_rows(tmp_path: Path) -> None:
    """Two templates stand side by side in one folder."""
    assert new("rlhf", "stack", folder=tmp_path).returncode == 0
    assert new("ppo", "stack", folder=tmp_path).returncode == 0
    assert sorted(p.name for p in (tmp_path / "stack").glob("*.tune")) == ["ppo.tune", "rlhf.tune"]


def test_an_unknown_template_and_a_place_that_cannot_be(tmp_path: Path) -> None:
    """A guess; and a file where a folder is needed is no traceback."""
    unknown = new("instruction_tunning", folder=tmp_path)
    assert unknown.returncode == 1
    assert "did you mean `instruction_tuning`?" in unknown.stderr
    (tmp_path / "file").write_text("")
    blocked = new("sft", "file/r.tune", folder=tmp_path)
    assert blocked.returncode == 1
    assert "cannot be written" in blocked.stderr and "Traceback" not in blocked.stderr
