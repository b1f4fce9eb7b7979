"""Rules on what a recipe need not say: TS03, TS04 and TS08."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

from tunelang.diagnostic import Diagnostic, Edit, Fix, hint
from tunelang.recipe import kinds
from tunelang.recipe.model import Choice, Declared
from tunelang.recipe.names import Scope
from tunelang.recipe.resolve import Resolved
from tunelang.recipe.settle import defaults
from tunelang.recipe.values import default_values
from tunelang.rules.edits import assignments, without
from tunelang.source import Source, Span
from tunelang.syntax.parse import parse
from tunelang.syntax.tree import (
    Assignment,
    Block,
    Broken,
    Declaration,
    File,
    Import,
    Item,
    Scalar,
)

# A seed that is written is a statement (TL803), even where it is the default.
STATEMENTS = ("seed",)
OFTEN = 3
LITERALS = ("NUMBER", "MEASURE", "MONEY", "STRING")
OWN_VALUES = ("profile", "mix", "sweep", "every")  # their values are meant for one place each
LOOKS_LIKE_AN_ITEM = re.compile(r"#[ \t]*[A-Za-z_][\w.]*( [A-Za-z_]\w*)?[^\n]*(=|\{)")


def redundant_default(resolved: Resolved) -> Iterator[Diagnostic]:
    """TS03: a value equals the default, and nothing below it says otherwise."""
    scope, recipe = resolved.scope, resolved.recipe
    assert scope is not None and recipe is not None
    for declaration in scope.file.declarations():
        declared = recipe.declared.get(declaration.name.text)
        if declared is None or declaration.extends or declaration.kind.text in OWN_VALUES:
            continue
        known = _defaults(declared)
        below = defaults(declared.kind, scope).values
        written = dict(_written(declaration.items or ()))
        for path, given in declared.values.items():
            item = written.get(given.span) if given.span else None
            bare = path in known and path not in below and path not in STATEMENTS
            if item and bare and _plain(given.value) == known[path]:
                yield _redundant(declared, path, item)


def _written(items: Sequence[Item]) -> Iterator[tuple[Span, Item]]:
    """The place of every value, and what to delete for it: a block that holds it alone goes too."""
    for item in items:
        if isinstance(item, Assignment):
            yield item.value.span, item
        elif isinstance(item, Block):
            alone = len(item.items) == 1
            yield from ((span, item if alone else inner) for span, inner in _written(item.items))


def _redundant(declared: Declared, path: str, written: Item) -> Diagnostic:
    given = declared.values[path].span
    text = " ".join(given.text.split()) if given else ""
    return hint(
        "TS03",
        "redundant-default",
        f"`{path}` of `{declared.name}` is {text} already",
        written.span,
        "the default",
        help=f"without this line it is {text} as well",
        fix=Fix(f"delete `{path}`", (without(written.span),), safe=True),
    )


def _defaults(declared: Declared) -> dict[str, Any]:
    fields = declared.method.fields if declared.method else kinds.fields(declared.kind)
    return {path: _plain(given.value) for path, given in default_values(fields, "").items()}


def _plain(value: Any) -> Any:
    """A value without the places it is written at."""
    if isinstance(value, Choice):
        return value.name, {name: _plain(given.value) for name, given in value.values.items()}
    return tuple(map(_plain, value)) if isinstance(value, tuple) else value


def repeated_literal(resolved: Resolved) -> Iterator[Diagnostic]:
    """TS04: one value three times: name it."""
    assert resolved.scope is not None
    places: dict[tuple[str, str], list[Span]] = defaultdict(list)
    for item in resolved.scope.file.items:
        if isinstance(item, Declaration) and item.kind.text not in OWN_VALUES:
            for each in assignments(item.items or ()):
                if isinstance(each.value, Scalar) and each.value.token.kind in LITERALS:
                    last = each.path.parts[-1].text
                    places[last, each.value.span.text].append(each.value.span)
    for (field, text), spans in places.items():
        if len(spans) >= OFTEN:
            yield _repeated(field, text, (spans, resolved.scope))


def _repeated(field: str, text: str, where: tuple[list[Span], Scope]) -> Diagnostic:
    spans, scope = where
    taken = {*scope.names, *scope.imports}
    name = next(n for n in (field, f"common_{field}", f"common_{field}_2") if n not in taken)
    edits = (_let(scope.file, f"let {name} = {text}"), *(Edit(span, name) for span in spans))
    return hint(
        "TS04",
        "repeated-literal",
        f"`{field} = {text}` is written {len(spans)} times",
        spans[0],
        "one value in several places",
        help=f"`let {name} = {text}` gives it a name and one place to change",
        fix=Fix(f"name it `{name}`", edits, safe=False),
    )


def _let(file: File, text: str) -> Edit:
    """A new line below the edition and the imports."""
    above = [item.span.end for item in file.items if isinstance(item, Import)]
    above += [file.edition.span.end] if file.edition else []
    end = file.source.text.find("\n", max(above, default=0)) if above else 0
    return Edit(Span(file.source, end, end), f"\n{text}" if above else f"{text}\n")


def commented_out_item(resolved: Resolved) -> Iterator[Diagnostic]:
    """TS08: a comment that is an item of the language."""
    assert resolved.scope is not None
    for run in _runs(resolved.scope.file):
        whole = run[0].to(run[-1])
        for span in (whole,) if _is_item(whole) else tuple(filter(_is_item, run)):
            yield hint(
                "TS08",
                "commented-out-item",
                "this comment is a part of a recipe that does nothing",
                span,
                "commented out",
                help="delete it; version control remembers",
                fix=Fix("delete the comment", (without(span),), safe=False),
            )


def _runs(file: File) -> Iterator[list[Span]]:
    """Comments that have lines of their own, those on adjacent lines together."""
    found = [
        span for token in file.tokens if (span := _comment(file.source, token.span, token.gap))
    ]
    numbered = enumerate(found)
    for _, run in groupby(numbered, lambda p: file.source.position(p[1].start)[0] - p[0]):
        yield [span for _, span in run]


def _comment(source: Source, token: Span, gap: str) -> Span | None:
    """The comment in the gap before a token, where it stands alone and is no documentation."""
    text = gap.strip()
    if not text.startswith("#") or text.startswith(("##", "#!")) or "tune:" in text:
        return None
    start = token.start - len(gap)
    if start and source.text[start - 1] != "\n":
        return None
    start += gap.index("#")
    return Span(source, start, start + len(text))


def _is_item(span: Span) -> bool:
    if not LOOKS_LIKE_AN_ITEM.match(span.text):
        return False
    lines = [line.strip().removeprefix("#") for line in span.text.splitlines()]
    file, found = parse(Source("comment", "tune 1\n" + "\n".join(lines) + "\n"))
    return not found and bool(file.items) and not any(isinstance(i, Broken) for i in file.items)


RULES = (redundant_default, repeated_literal, commented_out_item)
