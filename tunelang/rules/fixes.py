"""Fixes applied to a text: in order, each whole or not at all, never two on one place."""

from __future__ import annotations

from collections.abc import Iterable

from tunelang.diagnostic import Diagnostic, Edit, Fix
from tunelang.source import Source
from tunelang.syntax.edit import edited


def chosen(found: Iterable[Diagnostic], source: Source, *, unsafe: bool) -> list[Fix]:
    """The fixes that may be applied to this source."""
    fixes = [each.fix for each in found if each.fix and (each.fix.safe or unsafe)]
    return [fix for fix in fixes if all(edit.span.source == source for edit in fix.edits)]


def apply(source: Source, fixes: Iterable[Fix]) -> tuple[str, int]:
    """The text after the fixes, and how many were applied; one that overlaps another waits."""
    taken: list[Edit] = []
    count = 0
    for fix in dict.fromkeys(fixes):
        if not any(_overlap(edit, other) for edit in fix.edits for other in taken):
            taken += fix.edits
            count += 1
    return edited(source.text, taken), count


def _overlap(one: Edit, other: Edit) -> bool:
    """Touching insertions overlap too: their order would be a guess."""
    return one.span.start <= other.span.end and other.span.start <= one.span.end
