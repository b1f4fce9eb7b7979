"""Between our spans and the protocol's types. Positions count UTF-16 units."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from lsprotocol import types
from pygls.uris import from_fs_path

from tunelang.diagnostic import Diagnostic, Edit, Label, Severity
from tunelang.lsp.complete import Completion
from tunelang.lsp.outline import Entry
from tunelang.lsp.tokens import LEGEND, Colour
from tunelang.lsp.values import Candidate
from tunelang.source import Source, Span

SEVERITY = {
    Severity.ERROR: types.DiagnosticSeverity.Error,
    Severity.WARNING: types.DiagnosticSeverity.Warning,
    Severity.HINT: types.DiagnosticSeverity.Hint,
}
KINDS = {
    "keyword": types.CompletionItemKind.Keyword,
    "kind": types.CompletionItemKind.Keyword,
    "method": types.CompletionItemKind.Class,
    "field": types.CompletionItemKind.Field,
    "block": types.CompletionItemKind.Struct,
    "name": types.CompletionItemKind.Variable,
    "symbol": types.CompletionItemKind.EnumMember,
    "variant": types.CompletionItemKind.Constructor,
    "unit": types.CompletionItemKind.Unit,
    "metric": types.CompletionItemKind.Function,
}
OUTLINE = {"block": types.SymbolKind.Struct, "stage": types.SymbolKind.Class}


def position(source: Source, offset: int) -> types.Position:
    """Line and column of an offset."""
    return types.Position(*source.utf16(offset))


def range_of(span: Span) -> types.Range:
    """A span as the protocol has it."""
    return types.Range(position(span.source, span.start), position(span.source, span.end))


def offset(source: Source, at: types.Position) -> int:
    """The offset of a place in a text."""
    return source.from_utf16(at.line, at.character)


def location(span: Span, own: tuple[Source, str]) -> types.Location | None:
    """Where a span is, in the open text or a file on the disk; None for other texts."""
    source, uri = own
    if span.source.name == source.name:
        return types.Location(uri, range_of(span))
    path = Path(span.source.name)
    place = from_fs_path(str(path)) if path.is_file() else None
    return types.Location(place, range_of(span)) if place else None


def diagnostic(found: Diagnostic, own: tuple[Source, str]) -> types.Diagnostic:
    """A finding with its help below the message and its other labels as related places."""
    assert found.at is not None
    label = f" ({found.at.text})" if found.at.text else ""
    text = f"{found.message}{label}" + (f"\n{found.help}" if found.help else "")
    return types.Diagnostic(
        range_of(found.at.span),
        text,
        severity=SEVERITY[found.severity],
        code=found.name,
        source=f"tunelang {found.code}",
        related_information=list(_related(found.others, own)) or None,
        tags=_tags(found.name),
    )


def _related(
    others: Iterable[Label], own: tuple[Source, str]
) -> Iterable[types.DiagnosticRelatedInformation]:
    for label in others:
        place = location(label.span, own)
        if place:
            yield types.DiagnosticRelatedInformation(place, label.text)


def _tags(name: str) -> list[types.DiagnosticTag] | None:
    """Editors fade what is unused and strike through what is deprecated."""
    if name.startswith("unused-"):
        return [types.DiagnosticTag.Unnecessary]
    return [types.DiagnosticTag.Deprecated] if name.startswith("deprecated-") else None


def edits(found: Iterable[Edit]) -> list[types.TextEdit]:
    """Our edits as theirs."""
    return [types.TextEdit(range_of(edit.span), edit.text) for edit in found]


def completions(found: Completion) -> list[types.CompletionItem]:
    """In our order: what is required comes first."""
    ordered = sorted(found.candidates, key=lambda each: not each.first)
    where = range_of(found.span)
    return [_completion(each, number, where) for number, each in enumerate(ordered)]


def _completion(each: Candidate, number: int, where: types.Range) -> types.CompletionItem:
    first, _, rest = each.doc.partition("\n\n")
    return types.CompletionItem(
        each.label,
        kind=KINDS.get(each.kind, types.CompletionItemKind.Value),
        detail=first or None,
        documentation=rest or None,
        sort_text=f"{number:04}",
        filter_text=each.label,
        text_edit=types.TextEdit(where, each.text),
    )


def colours(found: Sequence[Colour]) -> list[int]:
    """Five numbers a token, each place relative to the one before, as the protocol has it."""
    data: list[int] = []
    line = column = 0
    for each in found:
        start_line, start = each.span.source.utf16(each.span.start)
        _, end = each.span.source.utf16(each.span.end)
        same = start_line == line
        ahead = start - column if same else start
        kind = LEGEND.index(each.kind)
        data += [start_line - line, ahead, end - start, kind, int(each.definition)]
        line, column = start_line, start
    return data


def symbol(entry: Entry) -> types.DocumentSymbol:
    """A line of the outline with what is inside it."""
    kind = OUTLINE.get(entry.kind.split(":")[0], types.SymbolKind.Variable)
    inner = [symbol(each) for each in entry.inner]
    at = (range_of(entry.span), range_of(entry.at))
    return types.DocumentSymbol(entry.name, kind, *at, detail=entry.kind, children=inner)
