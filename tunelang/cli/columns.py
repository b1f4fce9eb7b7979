"""Rows of text in columns, and an entry as named lines: what the catalogues print."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence

KEY = 13  # columns of what a line is about
WIDTH = 100


def columns(head: Sequence[str], rows: Iterable[Sequence[str]], right: Sequence[str] = ()) -> str:
    """A table without lines; the columns called as in `right` end at one edge."""
    whole = [list(head), *(list(row) for row in rows)]
    widths = [max(len(row[at]) for row in whole) for at in range(len(head))]
    sides = [name in right for name in head]
    return "".join(f"{_row(row, widths, sides)}\n" for row in whole)


def _row(cells: Sequence[str], widths: Sequence[int], sides: Sequence[bool]) -> str:
    placed = zip(cells, widths, sides, strict=True)
    return "  ".join(c.rjust(w) if right else c.ljust(w) for c, w, right in placed).rstrip()


def entry(title: str, lines: Iterable[tuple[str, str]]) -> str:
    """One thing in full: its name, then what is known of it, empty values left out."""
    told = [_line(key, value) for key, value in lines if value]
    return "\n".join([title, *told]) + "\n"


def _line(key: str, value: str) -> str:
    """Wrapped below itself; a word that is too long is left whole, so that it can be copied."""
    head, hang = f"  {key:<{KEY}}", " " * (KEY + 2)
    return textwrap.fill(
        value,
        WIDTH,
        initial_indent=head,
        subsequent_indent=hang,
        break_long_words=False,
        break_on_hyphens=False,
    )
