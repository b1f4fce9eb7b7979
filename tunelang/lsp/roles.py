"""What each word of a recipe is: a kind, a field, a symbol, a unit, or the name of a declaration.

One answer for colours, hover, definitions, references and rename.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tunelang.lsp.inside import Inside, Insides, alternatives, expected
from tunelang.lsp.place import walk
from tunelang.metrics import METRICS
from tunelang.recipe.kinds import KINDS
from tunelang.recipe.names import Scope
from tunelang.recipe.schema import Symbol, Type, Variant
from tunelang.syntax.tree import Token

NUMBERS = ("NUMBER", "MEASURE", "BAD_NUMBER", "MONEY")
KEYWORDS = ("IMPORT", "AS", "EXTENDS", "TUNE", "TRUE", "FALSE")


@dataclass(frozen=True)
class Role:
    """`kind` says what the word is. `name` is the declaration's (`alias.name` where imported)."""

    index: int
    token: Token
    kind: str
    around: Inside
    item: tuple[Token, ...]  # of the same item, before the word's path
    path: str  # the dotted path up to and with the word
    name: str = ""
    definition: bool = False


def roles(tokens: Sequence[Token], scope: Scope, only: int | None = None) -> Iterator[Role]:
    """The role of every word, or of the token number `only`."""
    insides = Insides(scope)
    for index, frames, item in walk(tokens):
        token = tokens[index]
        wanted = only is None or index == only
        if wanted and (token.kind == "NAME" or token.kind in KEYWORDS):
            yield _role(tokens, index, insides.of(frames), (tuple(item), scope))


def _role(
    tokens: Sequence[Token], index: int, around: Inside, at: tuple[tuple[Token, ...], Scope]
) -> Role:
    item, scope = at
    token = tokens[index]
    start = _path_start(item)
    path = "".join(each.text for each in (*item[start:], token))
    before = item[:start]
    kind = "keyword" if token.kind in KEYWORDS else _kind(tokens, index, around, (before, path))
    role = Role(index, token, kind, around, before, path)
    if kind == "value":
        return _value(role, tokens, scope)
    return _named(role, scope) if kind in ("name", "definition", "profile") else role


def _path_start(item: Sequence[Token]) -> int:
    """Where the dotted path begins that the next word goes on with."""
    start = len(item)
    while start > 1 and item[start - 1].kind == "DOT" and item[start - 2].kind == "NAME":
        start -= 2
    return start


def _kind(
    tokens: Sequence[Token], index: int, around: Inside, at: tuple[tuple[Token, ...], str]
) -> str:
    before, path = at
    if not before:
        return _first(tokens, index, around, path)
    last = before[-1]
    if last.kind == "COLON":
        return "method" if before[0].text == "stage" else "type"
    if last.kind == "AS":
        return "definition"
    if last.kind == "EXTENDS":
        return "profile" if before[0].text == "profile" else "name"
    if last.kind in NUMBERS:
        return "unit"
    if last.kind in ("EQ", "CMP"):
        return "value"
    if len(before) == 1 and around.kind in ("file", "profile"):
        return "kind" if before[0].text in ("defaults", "every") else "definition"
    return "unknown"


def _first(tokens: Sequence[Token], index: int, around: Inside, path: str) -> str:
    """A word that begins its item."""
    follows = tokens[_path_end(tokens, index)].kind
    if around.kind == "file":
        return "kind" if path in KINDS or follows == "NAME" else "unknown"
    if around.kind == "gate":
        return "field" if path == "enforce" else "metric" if path in METRICS else "name"
    if around.kind in ("profile", "axes"):
        return "keyword" if path == "every" and follows == "NAME" else "name"
    if around.kind == "mix":
        return "field" if path.split(".")[0] in around.fields else "name"
    if around.kind == "list" or (around.kind in ("call", "metric") and follows != "EQ"):
        return "value"
    return "field"


def _path_end(tokens: Sequence[Token], index: int) -> int:
    end = index + 1
    while tokens[end].kind == "DOT" and tokens[end + 1].kind == "NAME":
        end += 2
    return min(end, len(tokens) - 1)


def _value(role: Role, tokens: Sequence[Token], scope: Scope) -> Role:
    """A word right of `=`: a variant's name, a symbol of the field, else a declared name."""
    if tokens[_path_end(tokens, role.index)].kind == "LPAR":
        return _as(role, "variant")
    wanted = None if role.around.kind == "metric" else expected(role.around, role.item, scope)
    if role.path in symbols(wanted):
        return _as(role, "symbol")
    return _named(_as(role, "name"), scope)


def symbols(wanted: Type | None) -> tuple[str, ...]:
    """The words that a type knows itself."""
    found: list[str] = []
    for each in alternatives(wanted):
        if isinstance(each, Symbol | Variant):
            found += each.words if isinstance(each, Symbol) else each.shapes
    return tuple(found)


def _as(role: Role, kind: str, name: str = "", *, definition: bool = False) -> Role:
    where = (role.around, role.item, role.path)
    return Role(role.index, role.token, kind, *where, name, definition)


def _named(role: Role, scope: Scope) -> Role:
    """The declaration that a word of a path stands for; what follows its name are fields."""
    first = role.item[0].text if role.item else ""
    if role.kind == "profile" or (role.kind == "definition" and first == "profile"):
        return _as(role, "profile", role.path, definition=role.kind == "definition")
    if role.kind == "definition":
        kind = "alias" if first == "import" else "name"
        return _as(role, kind, role.path, definition=True)
    parts = role.path.split(".")
    if parts[0] in scope.names:
        return _as(role, "name", parts[0]) if len(parts) == 1 else _as(role, "field")
    if parts[0] in scope.imports and len(parts) < 3:
        return _as(role, "alias" if len(parts) == 1 else "name", role.path)
    return _as(role, "field" if len(parts) > 2 else "unknown")
