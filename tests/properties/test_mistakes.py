"""One token deleted, doubled or misspelt: nearly always one error, and fixes that mend."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tunelang.diagnostic import Diagnostic, Severity
from tunelang.recipe.load import load_source
from tunelang.recipe.overrides import Settings
from tunelang.recipe.resolve import resolve_scope
from tunelang.rules import check, fixes
from tunelang.source import Source
from tunelang.syntax.lexer import lex
from tunelang.syntax.tree import Token

SOUND = (Path(__file__).parents[1] / "cases" / "mistakes" / "none.tune").read_text("utf-8")
# A deleted bracket or line end moves what stands behind it; other deletions are named singly.
ALONE = {"deleted": 0.85, "doubled": 0.95, "misspelt": 0.95}
ROUNDS = 3


def mutated(how: str, token: Token) -> str | None:
    """The recipe with one token changed; None where the change is none."""
    start, end, text = token.span.start, token.span.end, token.text
    if how == "misspelt" and (token.kind != "NAME" or len(text) < 3):
        return None
    swapped = text[:1] + text[2:3] + text[1:2] + text[3:]
    changed = {"deleted": "", "doubled": f"{text} {text}", "misspelt": swapped}[how]
    return SOUND[:start] + changed + SOUND[end:]


def errors(source: Source) -> list[Diagnostic]:
    scope, found = load_source(source, Path())
    every = check(resolve_scope(scope, found, Settings()))
    return [each for each in every if each.severity is Severity.ERROR]


def mended(source: Source, found: list[Diagnostic]) -> list[Diagnostic]:
    """What is left after the fixes."""
    for _ in range(ROUNDS):
        text, _ = fixes.apply(source, fixes.chosen(found, source, unsafe=True))
        source = Source(source.name, text)
        found = errors(source)
    return found


def found_in(how: str) -> Iterator[tuple[Source, list[Diagnostic]]]:
    """Every mutation that is found to be wrong."""
    for token in lex(Source("none.tune", SOUND))[:-1]:
        text = mutated(how, token)
        source = Source("none.tune", text or SOUND)
        found = errors(source)
        if found:
            yield source, found


@pytest.mark.parametrize("how", ALONE)
def test_one_mistake_is_one_error(how: str) -> None:
    """Most mutations get one error, and where that one has a fix it mends."""
    every = list(found_in(how))
    alone = [(source, found) for source, found in every if len(found) == 1]
    assert len(alone) >= ALONE[how] * len(every), [
        (source.text, [each.message for each in found]) for source, found in every if len(found) > 1
    ]
    fixed = [(source, found) for source, found in alone if found[0].fix]
    unmended = [source.text for source, found in fixed if mended(source, found)]
    assert len(unmended) <= len(fixed) // 50, unmended
