"""Editions: the one this compiler reads, and how a file of an older one is brought to it.

A new edition adds its number and a function that rewrites the text of the one before; nothing else
of the compiler knows old editions. `tunelang fmt` applies it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tunelang.source import Source
from tunelang.syntax.lexer import lex
from tunelang.syntax.parse import EDITION

# edition -> the same recipe's text in the edition after it; the edition line is part of the text
MIGRATIONS: Mapping[int, Callable[[Source], str]] = {}


def migrated(source: Source, to: int = EDITION) -> Source:
    """The file in the newest edition; a file without an edition line is of the newest already."""
    edition = _edition(source) or to
    while edition < to and edition in MIGRATIONS:
        source = Source(source.name, MIGRATIONS[edition](source))
        edition += 1
    return source


def _edition(source: Source) -> int | None:
    """What the first line says that is neither empty nor a comment; no other line can say it."""
    lines = (line for line in source.text.split("\n") if not line.lstrip().startswith("#"))
    first = next((line for line in lines if line.strip()), "")
    tune, number, *_ = [*lex(Source(source.name, first))[:2], None, None]
    said = tune and number and (tune.kind, number.kind) == ("TUNE", "NUMBER")
    return int(number.text) if said and number and number.text.isdigit() else None
