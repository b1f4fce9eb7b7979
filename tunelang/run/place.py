"""From `path:line` back to a label in that file, for messages met while running."""

from __future__ import annotations

from pathlib import Path

from tunelang.diagnostic import Label
from tunelang.source import Source, Span


def label(place: str, text: str) -> Label | None:
    """The line of `path:line` or `path:line:column`; None if it cannot be read any more."""
    path, line = split(place)
    return line_label(path, line, text) if path else None


def line_label(path: str, line: int, text: str) -> Label | None:
    """One line of a file without its indentation, with `text` under it."""
    try:
        source = Source(path, Path(path).read_text("utf-8"))
    except (OSError, UnicodeDecodeError):
        return None
    if not 1 <= line <= len(source.line_starts):
        return None
    content = source.line(line)
    start = source.line_starts[line - 1] + len(content) - len(content.lstrip())
    return Label(Span(source, start, start + len(content.strip())), text)


def split(place: str) -> tuple[str, int]:
    """`a/b.tune:12:3` -> (`a/b.tune`, 12); an empty path if there is no line in it."""
    parts = place.split(":")
    while parts and not parts[-1].isdigit():
        parts.pop()
    if len(parts) >= 3 and parts[-2].isdigit():
        parts.pop()
    return (":".join(parts[:-1]), int(parts[-1])) if len(parts) >= 2 else ("", 0)
