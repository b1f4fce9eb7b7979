"""Rules on how a recipe is written (TS01 to TS10, less those of `repeated.py` and `allow.py`)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from itertools import pairwise

from tunelang.diagnostic import Diagnostic, Edit, Fix, hint
from tunelang.recipe.literals import unquote
from tunelang.recipe.names import Scope
from tunelang.recipe.resolve import Resolved
from tunelang.source import Source, Span
from tunelang.syntax.format import format
from tunelang.syntax.tree import Import, Token

SNAKE = re.compile(r"_*[a-z][a-z0-9_]*")
LONGEST = 200  # lines; the longest recipe of the design pages has 141
PARTS = ("stage", "publish", "sweep")  # a file with one of these is a recipe, not parts to share
UNSHARED = ("profile", "defaults")


def _scope(resolved: Resolved) -> Scope:
    assert resolved.scope is not None
    return resolved.scope


def not_snake_case(resolved: Resolved) -> Iterator[Diagnostic]:
    """TS01: one way to write names."""
    scope = _scope(resolved)
    taken = {*scope.names, *scope.imports}
    aliases = [item.alias for item, _ in scope.imports.values()]
    for token in (*(each.name for each in scope.file.declarations()), *aliases):
        if SNAKE.fullmatch(token.text):
            continue
        better = _snake(token.text)
        free = better not in taken and SNAKE.fullmatch(better)
        yield hint(
            "TS01",
            "not-snake-case",
            f"`{token.text}` is not written as other names are",
            token.span,
            "not snake_case",
            help=f"names are small letters, digits and underscores: `{better}`",
            fix=_renamed(scope, token, better) if free else None,
        )


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def _renamed(scope: Scope, token: Token, better: str) -> Fix:
    uses = [t for t in scope.file.tokens if t.kind == "NAME" and t.text == token.text]
    edits = tuple(Edit(use.span, better) for use in uses)
    return Fix(f"rename `{token.text}` to `{better}`", edits, safe=False)


@lru_cache(maxsize=32)
def _formatted(source: Source) -> str:
    """Remembered, since a recipe is checked once for each of its profiles."""
    return format(source)


def not_formatted(resolved: Resolved) -> Iterator[Diagnostic]:
    """TS02: `tunelang fmt` would change the file."""
    source = _scope(resolved).file.source
    edit = _difference(source, _formatted(source))
    if edit:
        yield hint(
            "TS02",
            "not-formatted",
            "this file is not in the one layout that recipes have",
            edit.span,
            "differs from here",
            help="`tunelang fmt` writes it so",
            fix=Fix("format the file", (edit,), safe=True),
        )


def _difference(source: Source, wanted: str) -> Edit | None:
    """The smallest single edit from the text to what is wanted, None where they are equal."""
    text = source.text
    if text == wanted:
        return None
    shorter = min(len(text), len(wanted))
    start = next((i for i in range(shorter) if text[i] != wanted[i]), shorter)
    tail = 0
    while tail < shorter - start and text[-1 - tail] == wanted[-1 - tail]:
        tail += 1
    return Edit(Span(source, start, len(text) - tail), wanted[start : len(wanted) - tail])


def undocumented_export(resolved: Resolved) -> Iterator[Diagnostic]:
    """TS05: a declaration of a file of parts has no `##`."""
    declarations = list(_scope(resolved).file.declarations())
    if any(each.kind.text in PARTS for each in declarations):
        return
    for each in declarations:
        if not each.doc and each.kind.text not in UNSHARED:
            yield hint(
                "TS05",
                "undocumented-export",
                f"{each.kind.text} `{each.name.text}` is there to be imported, and says not what "
                "it is",
                each.name.span,
                "no `##` above it",
                help="one line of `##` above it is shown where others use it",
            )


def long_recipe(resolved: Resolved) -> Iterator[Diagnostic]:
    """TS09: over 200 lines."""
    file = _scope(resolved).file
    lines = len(file.source.text.splitlines())
    if lines <= LONGEST:
        return
    beyond = file.source.line_starts[LONGEST]
    token = next((each for each in file.tokens if each.span.start >= beyond), file.tokens[-1])
    yield hint(
        "TS09",
        "long-recipe",
        f"this file has {lines} lines, and nobody reads more than {LONGEST} at once",
        token.span,
        f"beyond {LONGEST} lines",
        help="move data sets or hardware into a file of their own and import it; "
        "rows belong in a .jsonl file",
    )


def unsorted_imports(resolved: Resolved) -> Iterator[Diagnostic]:
    """TS10: imports in the order of their places give stable diffs."""
    file = _scope(resolved).file
    imports = [item for item in file.items if isinstance(item, Import)]
    ordered = sorted(imports, key=lambda item: unquote(item.place.text))
    moved = next((a for a, b in zip(imports, ordered, strict=True) if a != b), None)
    if moved is None:
        return
    edits = tuple(
        Edit(item.span, sound.span.text) for item, sound in zip(imports, ordered, strict=True)
    )
    # A comment belongs to the import beside it; moving only the imports would part them.
    plain = all(
        "#" not in one.span.source.text[one.span.end : two.span.start]
        for one, two in pairwise(imports)
    )
    yield hint(
        "TS10",
        "unsorted-imports",
        "the imports are not in the order of their places",
        moved.span,
        f"{ordered[imports.index(moved)].place.text} comes before",
        help="sorted lines make diffs that show only what changed",
        fix=Fix("sort the imports", edits, safe=True) if plain else None,
    )


RULES = (not_snake_case, not_formatted, undocumented_export, long_recipe, unsorted_imports)
