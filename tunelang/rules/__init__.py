"""Rules: a resolved recipe becomes findings. One file per group, one function per rule."""

from __future__ import annotations

from collections.abc import Collection

from tunelang import registry
from tunelang.diagnostic import Diagnostic, Severity, has_errors
from tunelang.recipe.resolve import Resolved
from tunelang.source import Span


def check(resolved: Resolved, skip: Collection[str] = ()) -> list[Diagnostic]:
    """What every rule says of a recipe, after what resolution has said.

    `skip` names functions that are not asked.
    """
    found = list(resolved.found)
    if resolved.recipe is None:
        return found
    broken = has_errors(found)
    unread = _unread(resolved)
    for rules in registry.parts("rules", "RULES"):
        for rule in (each for each in rules if each.__name__ not in skip):
            # After errors a warning is as likely their echo as a finding of its own.
            found += [
                each
                for each in rule(resolved)
                if not broken or (each.severity is Severity.ERROR and not _within(each, unread))
            ]
    return list(dict.fromkeys(found))


def _unread(resolved: Resolved) -> list[Span]:
    """Declarations that were not read whole: what a rule says of one is an echo of that."""
    if resolved.scope is None:
        return []
    errors = [each for each in resolved.found if each.severity is Severity.ERROR]
    items = [item.span for item in resolved.scope.file.items]
    return [span for span in items if any(_within(each, [span]) for each in errors)]


def _within(found: Diagnostic, spans: list[Span]) -> bool:
    """Whether a finding is placed in one of the spans."""
    at = found.at.span if found.at else None
    return at is not None and any(
        at.source == span.source and span.start <= at.start < span.end for span in spans
    )
