"""`# tune: allow(NAME) why` silences one rule for the next item, or for the item of its line.

Errors cannot be allowed: what follows them would have nothing to stand on.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tunelang.diagnostic import Diagnostic, Edit, Fix, Severity, has_errors, warning
from tunelang.recipe.resolve import Resolved
from tunelang.source import Source, Span
from tunelang.syntax.tree import Block, Declaration, File, Item

COMMENT = re.compile(r"[ \t]*#+[ \t]*tune:[ \t]*allow\(([\w-]*)\)[ \t]*([^\n\r]*)")


@dataclass(frozen=True)
class Allow:
    """A comment that allows the rule `name` inside `item` (None: nothing follows it)."""

    name: str
    why: str
    span: Span
    item: Span | None

    def covers(self, found: Diagnostic) -> bool:
        """Whether the finding is one of this rule in this item, and may be allowed."""
        at = found.at.span if found.at else None
        inside = at and self.item and at.source == self.item.source
        return bool(
            inside
            and at
            and self.item
            and self.item.start <= at.start <= self.item.end
            and found.name == self.name
            and found.severity is not Severity.ERROR
        )


def allowed(resolved: Resolved, found: Sequence[Diagnostic]) -> list[Diagnostic]:
    """The findings less those that are allowed, and what is wrong with the comments themselves."""
    if resolved.scope is None:
        return list(found)
    files = [scope.file for scope in resolved.scope.all_scopes()]
    allows = [allow for file in files for allow in _allows(file)]
    kept = [each for each in found if not any(allow.covers(each) for allow in allows)]
    own = [allow for allow in allows if allow.span.source == resolved.scope.file.source]
    return kept + [note for allow in own for note in _notes(allow, found)]


def _allows(file: File) -> Iterator[Allow]:
    for token in file.tokens:
        for match in COMMENT.finditer(token.gap) if "allow(" in token.gap else ():
            start = token.span.start - len(token.gap) + match.start()
            span = Span(file.source, start, start + len(match[0].rstrip()))
            yield Allow(match[1], match[2].strip(), span, _item(file, span))


def _item(file: File, comment: Span) -> Span | None:
    """The item that begins on the comment's line, else the first that begins below it."""
    line = _line(file.source, comment.start)
    begins = sorted((span for span in _spans(file.items)), key=lambda span: (span.start, -span.end))
    here = [span for span in begins if _line(file.source, span.start) == line]
    below = [span for span in begins if span.start > comment.start]
    return next(iter(here or below), None)


def _line(source: Source, offset: int) -> int:
    return source.position(offset)[0]


def _spans(items: Sequence[Item]) -> Iterator[Span]:
    for item in items:
        yield item.span
        if isinstance(item, Block | Declaration):
            yield from _spans(item.items or ())


def _notes(allow: Allow, found: Sequence[Diagnostic]) -> Iterator[Diagnostic]:
    """TS06 and TS07: a comment that silences nothing, or does not say why."""
    if not has_errors(found) and not any(allow.covers(each) for each in found):
        yield warning(
            "TS06",
            "unused-allow",
            f"`{allow.name}` is not found here, so there is nothing to allow",
            allow.span,
            "silences nothing",
            help="delete the comment",
            fix=Fix("delete the comment", (Edit(allow.span, ""),), safe=True),
        )
    elif not allow.why:
        yield warning(
            "TS07",
            "allow-without-reason",
            f"this comment does not say why `{allow.name}` is all right here",
            allow.span,
            "no reason",
            help=f"write why after it: `# tune: allow({allow.name}) measured in ...`",
        )
