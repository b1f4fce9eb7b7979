"""Every case file: what it says it has, and what must hold of any text whatsoever."""

from __future__ import annotations

from pathlib import Path

import cases
import pytest

from tunelang.diagnostic import Diagnostic, Severity
from tunelang.plan import findings
from tunelang.rules import check, fixes
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
    """Resolution and rules find exactly what the case says; of planning the errors count.

    What planning warns of depends on the machine that the test runs on.
    """
    case = cases.read(path)
    found = findings.of_text(case.source, path.parent)
    assert found.resolved
    every = dict.fromkeys([*check(found.resolved), *errors(found.found)])
    compare(case, cases.lines(list(every)), update)


ROUNDS = 3  # a mended bracket or comma may show what stood behind it


@pytest.mark.parametrize("path", cases.cases("mistakes"), ids=ids)
def test_fixes_mend(path: Path) -> None:
    """Where a mistake has a fix, applying it leaves a recipe without errors."""
    source = cases.read(path).source
    found = findings.of_text(source, path.parent).found
    if not any(each.fix for each in errors(found)):
        return
    for _ in range(ROUNDS):
        text, _ = fixes.apply(source, fixes.chosen(errors(found), source, unsafe=True))
        source = Source(source.name, text)
        found = findings.of_text(source, path.parent).found
    assert not [each.message for each in errors(found)], source.text


def errors(found: list[Diagnostic]) -> list[Diagnostic]:
    return [each for each in found if each.severity is Severity.ERROR]


def test_enough_mistakes() -> None:
    """At least sixty recipes hold one planted mistake and get exactly one error."""
    expected = [cases.read(path).expected for path in cases.cases("mistakes")]
    alone = [lines for lines in expected if sum(" error[" in line for line in lines) == 1]
    assert len(alone) >= 60


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
