"""Colours and folds: what each token is, and which lines may be hidden together."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from tunelang.lsp.document import Document
from tunelang.lsp.roles import roles
from tunelang.source import Span
from tunelang.syntax.parse import OPEN
from tunelang.syntax.tree import Token

# The names are the protocol's (LSP 3.17, SemanticTokenTypes).
LEGEND = (
    "keyword",
    "variable",
    "property",
    "function",
    "enumMember",
    "type",
    "number",
    "string",
    "comment",
    "operator",
    "namespace",
    "method",
)
BY_ROLE = {
    "keyword": "keyword",
    "kind": "keyword",
    "definition": "variable",
    "name": "variable",
    "profile": "variable",
    "alias": "namespace",
    "field": "property",
    "metric": "method",
    "variant": "function",
    "symbol": "enumMember",
    "method": "type",
    "type": "type",
    "unit": "number",
}
BY_KIND = {
    "NUMBER": "number",
    "MEASURE": "number",
    "MONEY": "number",
    "STRING": "string",
    "TEXT": "string",
    "HASH": "string",
    "CMP": "operator",
}


@dataclass(frozen=True)
class Colour:
    """A span and what it is, one of LEGEND; `definition` where it declares a name."""

    span: Span
    kind: str
    definition: bool = False


@dataclass(frozen=True)
class Fold:
    """Lines (from 1) that fold into the first."""

    first: int
    last: int
    comment: bool = False


def colours(document: Document) -> list[Colour]:
    """Every token that has a colour, in order, none over two lines."""
    found = list(_comments(document.tokens))
    found += [
        Colour(token.span, BY_KIND[token.kind])
        for token in document.tokens
        if token.kind in BY_KIND
    ]
    for role in roles(document.tokens, document.scope):
        if role.kind in BY_ROLE:
            found.append(Colour(role.token.span, BY_ROLE[role.kind], role.definition))
    found.sort(key=lambda each: each.span.start)
    return [line for each in found for line in _lines(each)]


def _comments(tokens: tuple[Token, ...]) -> Iterator[Colour]:
    for token in tokens:
        if "#" not in token.gap:
            continue
        start = token.span.start - len(token.gap)
        for match in re.finditer(r"#[^\r\n]*", token.gap):
            span = Span(token.span.source, start + match.start(), start + match.end())
            yield Colour(span, "comment")


def _lines(colour: Colour) -> Iterator[Colour]:
    """A colour line by line: editors take no token over a line's end."""
    if colour.kind != "string":
        yield colour
        return
    start = colour.span.start
    for line in colour.span.text.splitlines(keepends=True):
        end = start + len(line.rstrip("\r\n"))
        if end > start:
            yield Colour(Span(colour.span.source, start, end), colour.kind, colour.definition)
        start += len(line)


def folds(document: Document) -> list[Fold]:
    """Brackets over several lines, and comments of several lines."""
    source, found = document.source, []
    open_at: list[tuple[str, int]] = []
    for token in document.tokens:
        line, _ = source.position(token.span.start)
        if token.kind in OPEN:
            open_at.append((OPEN[token.kind], line))
        elif open_at and token.kind == open_at[-1][0]:
            first = open_at.pop()[1]
            found += [Fold(first, line - 1)] if line - 1 > first else []
    return sorted([*found, *_comment_folds(document)], key=lambda fold: fold.first)


def _comment_folds(document: Document) -> Iterator[Fold]:
    lines = document.source.text.split("\n")
    marked = [number for number, text in enumerate(lines, 1) if text.lstrip().startswith("#")]
    first = last = 0
    for number in [*marked, 0]:
        if number == last + 1:
            last = number
            continue
        if last > first:
            yield Fold(first, last, comment=True)
        first = last = number
