"""TuneLang in other people's CI: the hooks of pre-commit, and what docs/ci.md tells to run."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tunelang.cli import COMMANDS

yaml = pytest.importorskip("yaml")
ROOT = Path(__file__).parents[1]
HOOKS = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text("utf-8"))
PAGE = (ROOT / "docs" / "ci.md").read_text("utf-8")
BLOCKS = [yaml.safe_load(text) for text in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)]
STEPS = [
    step
    for block in BLOCKS
    for job in block.get("jobs", {}).values()
    for step in job["steps"]
    if step.get("run", "").startswith("tunelang")
]
BROKEN = 'tune 1\nmodel base = hf("acme/base", revison = "d149729")\n'


def run(line: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """A command line that begins with `tunelang`, as a shell of a workflow runs it."""
    ours = f'"{sys.executable}" -m {line}'
    return subprocess.run(ours, shell=True, cwd=folder, capture_output=True, text=True)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A repository of a user's with one sound recipe."""
    (tmp_path / "recipes").mkdir()
    shutil.copy(ROOT / "tests" / "samples" / "qlora.tune", tmp_path / "recipes" / "a.tune")
    return tmp_path


@pytest.mark.parametrize("hook", HOOKS, ids=lambda hook: hook["id"])
def test_hooks_accept_what_is_sound_and_refuse_what_is_not(
    hook: dict[str, Any], folder: Path
) -> None:
    """pre-commit gives a hook the names of files; it fails by its exit code or by changing one."""
    assert hook["language"] == "python" and hook["entry"].split()[1] in COMMANDS
    assert re.search(hook["files"], "recipes/a.tune") and not re.search(hook["files"], "a.tune.md")
    sound = (folder / "recipes" / "a.tune").read_text()
    assert run(f"{hook['entry']} recipes/a.tune", folder).returncode == 0
    assert (folder / "recipes" / "a.tune").read_text() == sound
    (folder / "b.tune").write_text(BROKEN.replace(" = ", "="))
    done = run(f"{hook['entry']} recipes/a.tune b.tune", folder)
    assert done.returncode == 1 or (folder / "b.tune").read_text() != BROKEN.replace(" = ", "=")


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step["run"])
def test_steps_of_workflows_pass_and_fail(step: dict[str, Any], folder: Path) -> None:
    """Clean recipes pass; one with a mistake of names and of layout fails every step."""
    assert run(step["run"], folder).returncode == 0
    (folder / "recipes" / "b.tune").write_text(BROKEN.replace(" = ", "="))
    assert run(step["run"], folder).returncode == 1


def test_the_page_names_the_hooks_that_there_are() -> None:
    """And no other."""
    (config,) = [block for block in BLOCKS if "repos" in block]
    (repo,) = config["repos"]
    assert repo["hooks"] == [{"id": hook["id"]} for hook in HOOKS]


def test_annotations_are_at_their_lines(folder: Path) -> None:
    """The workflow's command names file, line and column, from the root of the repository."""
    (folder / "recipes" / "b.tune").write_text(BROKEN)
    done = run("tunelang check --output github recipes/", folder)
    assert "::error file=recipes/b.tune,line=2,endLine=2,col=30,endColumn=37," in done.stdout
