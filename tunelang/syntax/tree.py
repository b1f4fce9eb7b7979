"""The lossless tree: tokens own the gap before them, nodes own tokens. Knows no kinds or methods.

Joining `token.gap + token.text` over `File.tokens` gives the exact source text.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tunelang.source import Source, Span


@dataclass(frozen=True, slots=True)
class Token:
    """One token. `kind` is a terminal of `grammar/tune.lark`, or `END`, whose text is empty."""

    kind: str
    text: str
    span: Span
    gap: str = ""


@dataclass(frozen=True, slots=True)
class Path:
    """`a.b.c`: a name, a symbol or the left side of an assignment."""

    parts: tuple[Token, ...]
    span: Span

    @property
    def text(self) -> str:
        return ".".join(part.text for part in self.parts)


@dataclass(frozen=True, slots=True)
class Scalar:
    """A literal, with its noun where it has one (`2048 tokens`)."""

    token: Token
    noun: Token | None
    span: Span


@dataclass(frozen=True, slots=True)
class Argument:
    name: Token | None
    value: Value
    span: Span


@dataclass(frozen=True, slots=True)
class Call:
    path: Path
    arguments: tuple[Argument, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class ListValue:
    values: tuple[Value, ...]
    span: Span


Value = Scalar | Path | Call | ListValue


@dataclass(frozen=True, slots=True)
class Assignment:
    path: Path
    value: Value
    span: Span
    doc: str = ""


@dataclass(frozen=True, slots=True)
class Check:
    """`METRIC CMP VALUE`, as in a gate."""

    operand: Path | Call
    compare: Token
    value: Value
    span: Span


@dataclass(frozen=True, slots=True)
class Block:
    name: Token
    items: tuple[Item, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Declaration:
    """`KIND NAME [: TYPE] [extends PATH] { ... }` or `KIND NAME [: TYPE] = VALUE`.

    Exactly one of `items` and `value` is not None. `doc` is the text of the `##` lines before it.
    """

    kind: Token
    name: Token
    type: Token | None
    extends: Path | None
    items: tuple[Item, ...] | None
    value: Value | None
    span: Span
    doc: str = ""


@dataclass(frozen=True, slots=True)
class Import:
    place: Token
    alias: Token
    hash: Token | None
    span: Span


@dataclass(frozen=True, slots=True)
class Broken:
    """An item that did not parse; its siblings did."""

    tokens: tuple[Token, ...]
    span: Span


Item = Declaration | Block | Assignment | Check | Import | Broken


@dataclass(frozen=True)
class File:
    """A whole file. `edition` is the number token of `tune 1`, None where the line is missing."""

    source: Source
    edition: Token | None
    items: tuple[Item, ...]
    tokens: tuple[Token, ...]

    def declarations(self) -> Iterator[Declaration]:
        return (item for item in self.items if isinstance(item, Declaration))
