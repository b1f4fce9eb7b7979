"""Edits of a recipe's text that fixes share: take an item out, add one to a declaration."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import islice

from tunelang.diagnostic import Edit, Fix
from tunelang.recipe.model import Declared, Given
from tunelang.recipe.resolve import Resolved
from tunelang.source import Span
from tunelang.syntax.lexer import lex
from tunelang.syntax.tree import Assignment, Block, Declaration, Item


def without(span: Span) -> Edit:
    """The text less this span, and less its line or its comma where nothing else needs them."""
    text = span.source.text
    start = text.rfind("\n", 0, span.start) + 1
    end = text.find("\n", span.end)
    end = len(text) if end < 0 else end + 1
    if not text[start : span.start].strip() and not text[span.end : end].strip(" \t,\r\n"):
        return Edit(Span(span.source, start, end), "")
    comma = re.compile(r"[ \t]*,[ \t]*").match(text, span.end)
    return Edit(Span(span.source, span.start, comma.end() if comma else span.end), "")


def body(name: Span) -> Span | None:
    """From the brace that opens the declaration of this name to the one that closes it."""
    depth, start = 0, 0
    tokens = lex(name.source)
    first = bisect_left(tokens, name.end, key=lambda token: token.span.start)
    for token in islice(tokens, first, None):
        if token.kind == "LBRACE":
            start = start or token.span.start
            depth += 1
        elif token.kind == "RBRACE":
            depth -= 1
            if not depth:
                return Span(name.source, start, token.span.end)
        elif not depth and token.kind in ("EQ", "NEWLINE", "END"):
            return None
    return None


def added(name: Span, text: str) -> Edit | None:
    """The item `text` as the last of a declaration's body, None where it has none."""
    inside = body(name)
    if inside is None:
        return None
    held = name.source.text[inside.start + 1 : inside.end - 1]
    end = inside.start + 1 + len(held.rstrip())
    empty = not held.strip()
    item = f"{'' if empty else ','} {text}{' ' if empty else ''}"
    margin = re.findall(r"\n([ \t]*)\S", held)[:1]
    if "\n" in held:
        item = f"\n{margin[0] if margin else '  '}{text}"
    return Edit(Span(name.source, end, end), item)


def setting(declared: Declared, path: str, value: str, *, safe: bool = False) -> Fix | None:
    """`path = value` for this declaration alone: written anew, or in place of what it says."""
    given = declared.values.get(path)
    inside = body(declared.span)
    title = f"write `{path} = {value}`"
    if given and given.span and (_holds(inside, given.span) or "profile" in given.origin):
        return Fix(title, (Edit(given.span, value),), safe)
    edit = added(declared.span, f"{path} = {value}")
    return Fix(title, (edit,), safe) if edit else None


def _holds(outer: Span | None, inner: Span) -> bool:
    return bool(outer and outer.source == inner.source and outer.start <= inner.start <= outer.end)


def assignments(items: Sequence[Item]) -> Iterator[Assignment]:
    """Every assignment of a file or body, however deep."""
    for item in items:
        if isinstance(item, Assignment):
            yield item
        elif isinstance(item, Block | Declaration):
            yield from assignments(item.items or ())


def dropped(resolved: Resolved, given: Given, *, safe: bool = False) -> Fix | None:
    """The field that holds this value taken out of the recipe, where it stands on its own."""
    items = resolved.scope.file.items if resolved.scope else ()
    found = [each for each in assignments(items) if each.value.span == given.span]
    edits = tuple(without(each.span) for each in found)
    return Fix(f"delete `{found[0].path.text}`", edits, safe) if found else None
