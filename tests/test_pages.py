"""The generated pages are current, and do not depend on the terminal they were made in."""

from __future__ import annotations

import re
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest

from tunelang.cli import COMMANDS
from tunelang.recipe import kinds
from tunelang.rules.pages import pages

ROOT = Path(__file__).parents[1]


def make() -> ModuleType:
    """docs/make.py, which is a script and no part of the package."""
    spec = spec_from_file_location("docs_make", ROOT / "docs" / "make.py")
    assert spec and spec.loader
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


PAGES = [
    "docs/cli.md",
    "docs/plan.schema.json",
    "docs/rules/README.md",
    "docs/methods/README.md",
]


@pytest.mark.parametrize("page", PAGES)
def test_pages_are_current(page: str) -> None:
    """After a change of commands or rules: `python docs/make.py`."""
    path = ROOT / page
    assert make().PAGES[path]() == path.read_text("utf-8"), "run python docs/make.py"


def test_the_terminal_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither its width nor its colours."""
    first = make().cli()
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert make().cli() == first


def test_every_command_and_rule_is_listed() -> None:
    """Each has its line, and each group of codes its title."""
    commands, rules = make().cli(), make().rules()
    assert all(f"\n## {name}\n" in commands for name in COMMANDS)
    assert all(f"[{name}]({name}.md)" in rules for name in pages())


def test_every_method_has_a_page_and_a_recipe_for_a_cpu_and_for_a_gpu() -> None:
    """The page is listed, and the method stands in a recipe of either kind."""
    listed = (ROOT / "docs" / "methods" / "README.md").read_text()
    recipes = {path.stem: path.read_text() for path in (ROOT / "recipes").glob("*.tune")}
    large = [text for text in recipes.values() if "gpu =" in text]
    small = [text for text in recipes.values() if "gpu =" not in text]
    for name in kinds.methods():
        assert (ROOT / "docs" / "methods" / f"{name}.md").is_file()
        assert f"({name}.md)" in listed
        assert any(f": {name} " in text for text in small), f"no CPU recipe of {name}"
        assert any(f": {name} " in text for text in large), f"no GPU recipe of {name}"


def test_every_proof_is_where_the_table_says() -> None:
    """P01 to P26, each named in the file that the table of the methods names."""
    listed = (ROOT / "docs" / "methods" / "README.md").read_text()
    rows = re.findall(r"^\| (P\d\d) \|.*\| (.*) \|$", listed, re.MULTILINE)
    assert [number for number, _ in rows] == [f"P{number:02}" for number in range(1, 27)]
    for number, files in rows:
        for name in re.findall(r"`(.*?)`", files):
            assert number in (ROOT / "tests" / "proofs" / name).read_text(), (number, name)


def test_files_that_the_methods_page_names_exist() -> None:
    listed = (ROOT / "docs" / "methods" / "README.md").read_text()
    for name in re.findall(r"`((?:methods|weights|train)/[a-z_]+\.py)`", listed):
        assert (ROOT / "tunelang" / name).is_file(), name
    for name in re.findall(r"`(test_\w+\.py)`", listed):
        assert (ROOT / "tests" / "proofs" / name).is_file(), name


def test_links_of_the_methods_pages_lead_somewhere() -> None:
    """Every relative link of docs/methods/ is a file."""
    for page in (ROOT / "docs" / "methods").glob("*.md"):
        for link in re.findall(r"\]\(([^)#:]+)\)", page.read_text("utf-8")):
            assert (page.parent / link).exists(), f"{page.name}: {link}"


def test_every_guard_is_accounted_for() -> None:
    """L01 to L38, each with what stands against it; self-checks it names are run by a worker."""
    text = (ROOT / "docs" / "methods" / "guards.md").read_text("utf-8")
    assert re.findall(r"^\| (L\d\d) \|", text, re.MULTILINE) == [f"L{n:02}" for n in range(1, 39)]
    workers = "".join(path.read_text("utf-8") for path in (ROOT / "tunelang/train").glob("*.py"))
    for name in re.findall(r"self-checks?((?: `[a-z-]+`,?(?: and)?)+)", text):
        for check in re.findall(r"`([a-z-]+)`", name):
            assert f'"{check}"' in workers, check
