"""The generated pages are current, and do not depend on the terminal they were made in."""

from __future__ import annotations

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest

from tunelang.cli import COMMANDS
from tunelang.rules.pages import pages

ROOT = Path(__file__).parents[1]


def make() -> ModuleType:
    """docs/make.py, which is a script and no part of the package."""
    spec = spec_from_file_location("docs_make", ROOT / "docs" / "make.py")
    assert spec and spec.loader
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("page", ["docs/cli.md", "docs/rules/README.md"])
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
