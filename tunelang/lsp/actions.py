"""Code actions: every fix of a finding, and all safe ones at once."""

from __future__ import annotations

from dataclasses import dataclass

from tunelang.diagnostic import Diagnostic, Edit
from tunelang.lsp.document import Document
from tunelang.rules import fixes
from tunelang.source import Span


@dataclass(frozen=True)
class Action:
    """A change that the editor offers. `mends` is None for the one that mends everything."""

    title: str
    edits: tuple[Edit, ...]
    safe: bool
    mends: Diagnostic | None = None


def actions(document: Document, start: int, end: int) -> list[Action]:
    """The fixes of what is found between two places, safe ones first, then all safe ones."""
    found = []
    for each in document.own:
        fix, at = each.fix, each.at
        if (
            fix
            and at
            and at.span.start <= end
            and start <= at.span.end
            and _here(fix.edits, document)
        ):
            title = f"{each.name}: {fix.title}" + ("" if fix.safe else " (unsafe)")
            found.append(Action(title, fix.edits, fix.safe, each))
    found.sort(key=lambda action: not action.safe)
    return found + fix_all(document)


def fix_all(document: Document) -> list[Action]:
    """Every safe fix of the file as one change; none where there are none."""
    wanted = fixes.chosen(document.found, document.source, unsafe=False)
    text, count = fixes.apply(document.source, wanted)
    if not count:
        return []
    whole = Span(document.source, 0, len(document.source.text))
    title = "apply the safe fix" if count == 1 else f"apply all {count} safe fixes"
    return [Action(title, (Edit(whole, text),), safe=True)]


def _here(edits: tuple[Edit, ...], document: Document) -> bool:
    return all(edit.span.source.name == document.source.name for edit in edits)
