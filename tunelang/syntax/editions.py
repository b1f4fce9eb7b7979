"""Editions: the one this compiler reads, and how a file of an older one is brought to it.

A new edition adds its number and a function that rewrites the text of the one before; nothing else
of the compiler knows old editions. `tunelang fmt` applies it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tunelang.source import Source
from tunelang.syntax.parse import EDITION, parse

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
    token = parse(source)[0].edition
    return int(token.text) if token and token.text.isdigit() else None
