"""The house: what the front end imports, that recipes check, that the docs tell the truth."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from cases import skip_without_model

from tunelang.diagnostic import Severity, has_errors
from tunelang.plan.build import build
from tunelang.recipe import kinds
from tunelang.recipe.overrides import Settings
from tunelang.recipe.resolve import resolve
from tunelang.recipe.values import default_values
from tunelang.rules import check
from tunelang.rules.allow import allowed
from tunelang.source import Source
from tunelang.syntax.format import format

ROOT = Path(__file__).parents[1]
RECIPES = sorted((ROOT / "recipes").glob("*.tune"))
HEAVY = "torch transformers trl peft accelerate datasets bitsandbytes pygls numpy pyarrow"
BLOCKED = f"""
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {HEAVY.split()!r}:
            raise ImportError("the front end must not import " + name)
sys.meta_path.insert(0, Block())
from tunelang.cli import main
main()
"""


@pytest.mark.parametrize(
    "command",
    [
        "check",
        "plan",
        "show",
        "graph",
        "fmt --check",
        "docs",
        "lock",
        "freeze --verify",
        "why policy.kl.target",
        "why policy",
        "diff l.tune",
    ],
)
def test_the_front_end_works_without_torch(command: str, tmp_path: Path) -> None:
    """What looks at recipes runs with torch and its friends blocked."""
    shutil.copy(ROOT / "recipes" / "llama-8b-rlhf.tune", tmp_path / "l.tune")
    done = subprocess.run(
        [sys.executable, "-c", BLOCKED, *command.split(), "l.tune"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_shipped_recipes_check_and_plan(path: Path) -> None:
    """No error and nothing but estimates to warn of, under every profile."""
    skip_without_model(path.read_text())
    names = re.findall(r"^profile (\w+)", path.read_text(), re.MULTILINE)
    for profile in [None, *names]:
        resolved = resolve(path, Settings(profile))
        assert resolved.recipe
        found = check(resolved)
        plan, more = build(resolved.recipe)
        assert plan and not has_errors([*found, *more])
        assert len(plan.steps) >= len(resolved.recipe.stages)
        said = allowed(resolved, [*found, *more])
        warnings = {each.code for each in said if each.severity is Severity.WARNING}
        assert warnings <= {"TL211"}


def test_the_readme_shows_the_quickstart() -> None:
    """The recipe on the front page is the recipe that runs."""
    shown = (ROOT / "README.md").read_text().partition("```tune\n")[2].partition("```")[0]
    assert shown == (ROOT / "recipes" / "quickstart.tune").read_text()


@pytest.mark.parametrize("name", sorted(kinds.methods()))
def test_defaults_are_sound(name: str) -> None:
    """Every default of a method is read by the code that reads recipes."""
    method = kinds.methods()[name]
    assert default_values(method.fields, "test")
    roles = (*method.inputs, method.data_field)
    assert all(role in method.fields for role in roles if role)


def blocks() -> list[tuple[str, str]]:
    """Every whole recipe in the documentation."""
    found = []
    pages = [path for path in sorted((ROOT / "docs").rglob("*.md")) if path.parent.stem != "rules"]
    for path in [*pages, ROOT / "README.md"]:
        texts = re.findall(r"```tune\n(tune 1\n.*?)```", path.read_text(), re.DOTALL)
        found += [(f"{path.stem}-{number}", text) for number, text in enumerate(texts)]
    return found


@pytest.mark.parametrize(("name", "text"), blocks(), ids=[name for name, _ in blocks()])
def test_recipes_in_the_documentation_check(name: str, text: str, tmp_path: Path) -> None:
    """Each one resolves and plans without an error."""
    skip_without_model(text)
    path = tmp_path / "r.tune"
    path.write_text(text)
    assert format(Source(name, text)) == text, "an example is in the house style"
    if "data/" in text:
        (tmp_path / "data").symlink_to(ROOT / "recipes" / "data")
    resolved = resolve(path)
    assert resolved.recipe
    found = check(resolved)
    assert not has_errors(found), [each.message for each in found]
    assert not has_errors(build(resolved.recipe)[1])


def test_files_are_small() -> None:
    """No file of the package is longer than 300 lines."""
    long = [p for p in (ROOT / "tunelang").rglob("*.py") if len(p.read_text().splitlines()) > 300]
    assert [path.name for path in long] == []


def test_no_place_of_one_machine_is_written_down() -> None:
    """No absolute path of a developer's machine stands in a tracked file."""
    done = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    for name in done.stdout.splitlines():
        path = ROOT / name
        if path.suffix in (".py", ".md", ".toml", ".tune", ".txt", "") and path.is_file():
            text = path.read_text(errors="replace")
            assert not re.search(r"(?<![\w.])/(work|root|home/\w+)/", text), name
