"""What is shown as diagnostics: findings of this text, and at an import those of its file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from tunelang.diagnostic import Diagnostic, Label, Severity
from tunelang.lsp.document import Document
from tunelang.source import Span


def shown(document: Document) -> list[Diagnostic]:
    """Every finding with a place in this very text."""
    return [*document.own, *_elsewhere(document)]


def _elsewhere(document: Document) -> Iterator[Diagnostic]:
    """Errors of imported files at the import, and those without any place at the start."""
    places = {
        scope.file.source.name: item.place.span for item, scope in document.scope.imports.values()
    }
    start = Span(document.source, 0, min(1, len(document.source.text)))
    for each in document.found:
        name = each.at.span.source.name if each.at else ""
        if each.severity is not Severity.ERROR or name == document.source.name:
            continue
        others = (each.at, *each.others) if each.at else each.others
        at = Label(places.get(name, start), "")
        yield replace(each, at=at, others=others, fix=None)
