"""Every case file: what it says it has, and what must hold of any text whatsoever."""

from __future__ import annotations

from pathlib import Path

import cases
import pytest

from tunelang.recipe.load import load_source
from tunelang.recipe.overrides import Settings
from tunelang.recipe.resolve import resolve_scope
from tunelang.rules import check
from tunelang.source import Source
from tunelang.syntax.format import format
from tunelang.syntax.lexer import joined
from tunelang.syntax.parse import parse

EVERY = [path for folder in ("parse", "mistakes", "format") for path in cases.cases(folder)]


def ids(path: Path) -> str:
    return f"{path.parent.name}/{path.stem}"


@pytest.mark.parametrize("path", cases.cases("parse"), ids=ids)
def test_syntax(path: Path, update: bool) -> None:
    """The parser finds exactly what the case says, each on its token."""
    case = cases.read(path)
    compare(case, cases.lines(parse(case.source)[1]), update)


@pytest.mark.parametrize("path", cases.cases("mistakes"), ids=ids)
def test_mistakes(path: Path, update: bool) -> None:
    """Resolution and rules find exactly what the case says."""
    case = cases.read(path)
    scope, found = load_source(case.source, path.parent)
    compare(case, cases.lines(check(resolve_scope(scope, found, Settings()))), update)


def compare(case: cases.Case, found: tuple[str, ...], update: bool) -> None:
    if update and found != case.expected:
        text = case.source.text + "# ---\n" + "\n".join(found) + "\n"
        case.path.write_bytes(text.encode())
    assert case.expected == found or update


@pytest.mark.parametrize("path", cases.cases("format"), ids=ids)
def test_format(path: Path) -> None:
    """Input, `# --- output`, expected; without output the case is formatted already."""
    text, mark, expected = path.read_bytes().decode().partition("# --- output\n")
    assert format(Source(path.name, text)) == (expected if mark else text)


@pytest.mark.parametrize("path", EVERY, ids=ids)
def test_any_text(path: Path) -> None:
    """Nothing is lost, formatting twice changes nothing, and no prefix raises."""
    text = path.read_bytes().decode()
    source = Source(path.name, text)
    file, _ = parse(source)
    assert joined(file.tokens) == text
    once = format(source)
    assert format(Source(path.name, once)) == once
    for end in range(0, len(text), 7):
        parse(Source("prefix", text[:end]))
