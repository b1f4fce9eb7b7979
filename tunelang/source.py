"""Text and places in it: the only code that knows lines, columns and UTF-16.

Offsets count Python characters. Lines and columns shown to people count from 1.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass
from functools import cached_property


@dataclass(frozen=True)
class Source:
    """A text and the name people know it by (a path as the user wrote it, or `<stdin>`)."""

    name: str
    text: str

    @cached_property
    def line_starts(self) -> tuple[int, ...]:
        return (0, *(found.end() for found in re.finditer("\n", self.text)))

    def position(self, offset: int) -> tuple[int, int]:
        """Line and column, both from 1, of the character at `offset`."""
        line = bisect_right(self.line_starts, min(offset, len(self.text)))
        return line, offset - self.line_starts[line - 1] + 1

    def line(self, number: int) -> str:
        """The text of one line (from 1) without its line end."""
        start = self.line_starts[number - 1]
        end = self.line_starts[number] if number < len(self.line_starts) else len(self.text)
        return self.text[start:end].rstrip("\r\n")

    def utf16(self, offset: int) -> tuple[int, int]:
        """Line and column from 0, the column in UTF-16 units: what editors exchange."""
        line, column = self.position(offset)
        before = self.line(line)[: column - 1]
        return line - 1, _units(before)

    def from_utf16(self, line: int, column: int) -> int:
        """The offset of an editor's place; one behind a line's end is that end."""
        if line >= len(self.line_starts):
            return len(self.text)
        offset, text = self.line_starts[line], self.line(line + 1)
        for character in text:
            column -= _units(character)
            if column < 0:
                break
            offset += 1
        return offset


def _units(text: str) -> int:
    """UTF-16 units of a text; half a pair, which editors can send, counts as one."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


@dataclass(frozen=True)
class Span:
    """A half-open range of characters of one source."""

    source: Source
    start: int
    end: int

    @property
    def text(self) -> str:
        return self.source.text[self.start : self.end]

    @property
    def place(self) -> str:
        """`path:line:column`, as compilers print it."""
        line, column = self.source.position(self.start)
        return f"{self.source.name}:{line}:{column}"

    def to(self, other: Span) -> Span:
        """From the start of this span to the end of the other."""
        return Span(self.source, self.start, other.end)
