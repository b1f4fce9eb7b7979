"""The declarations of a file, for outlines and breadcrumbs."""

from __future__ import annotations

from dataclasses import dataclass

from tunelang.lsp.document import Document
from tunelang.source import Span
from tunelang.syntax.tree import Block, Declaration, Item


@dataclass(frozen=True)
class Entry:
    """One line of an outline: the name, what it is, the whole text and the name's own place."""

    name: str
    kind: str
    span: Span
    at: Span
    inner: tuple[Entry, ...] = ()


def outline(document: Document) -> list[Entry]:
    """Declarations with the blocks inside them."""
    return _entries(document.file.items)


def _entries(items: tuple[Item, ...]) -> list[Entry]:
    found = []
    for item in items:
        if isinstance(item, Declaration):
            kind = item.kind.text + (f": {item.type.text}" if item.type else "")
            inner = tuple(_entries(item.items or ()))
            found.append(Entry(item.name.text, kind, item.span, item.name.span, inner))
        elif isinstance(item, Block):
            inner = tuple(_entries(item.items))
            found.append(Entry(item.name.text, "block", item.span, item.name.span, inner))
    return found
