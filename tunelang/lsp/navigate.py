"""Going to a declaration, listing its uses, and giving it another name."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tunelang.diagnostic import Edit
from tunelang.lsp.document import Document
from tunelang.lsp.place import index_at
from tunelang.lsp.roles import Role, roles
from tunelang.source import Span
from tunelang.syntax.tree import Block, Broken, Declaration, Item

NAMED = ("name", "profile", "alias")
RESERVED = ("tunelang", "tune", "import", "as", "extends", "true", "false")  # grammar/tune.lark


def role_at(document: Document, offset: int) -> Role | None:
    """The role of the word that a place touches."""
    index = index_at(document.tokens, offset)
    if index is None:
        return None
    return next(roles(document.tokens, document.scope, index), None)


def definition(document: Document, offset: int) -> Span | None:
    """Where the declaration stands that a word names, in this file or an imported one."""
    role = role_at(document, offset)
    if role is None or role.kind not in NAMED:
        return None
    if role.kind == "name":
        target = document.scope.look_up(role.name)
        return target[0].name.span if target else None
    if role.kind == "alias" and not role.definition and role.name in document.scope.imports:
        return document.scope.imports[role.name][0].alias.span
    return next((use.token.span for use in _uses(document, role) if use.definition), None)


def references(document: Document, offset: int, *, declaration: bool = True) -> list[Span]:
    """Every place in this file that names the same declaration."""
    role = role_at(document, offset)
    if role is None or role.kind not in NAMED:
        return []
    return [use.token.span for use in _uses(document, role) if declaration or not use.definition]


def _uses(document: Document, role: Role) -> Iterator[Role]:
    for use in roles(document.tokens, document.scope):
        if use.kind == role.kind and use.name == role.name:
            yield use


def renamable(document: Document, offset: int) -> Span | None:
    """The word that a rename would change; None where it is declared elsewhere or unknown."""
    role = role_at(document, offset)
    if role is None or role.kind not in NAMED or "." in role.name:
        return None
    known = any(use.definition for use in _uses(document, role))
    return role.token.span if known else None


def rename(document: Document, offset: int, new: str) -> list[Edit] | str:
    """The edits that rename a declaration everywhere in its file, or why they cannot be made."""
    word = renamable(document, offset)
    if word is None:
        return "only names that this file declares can be renamed"
    why = _refused(document, word.text, new)
    if why:
        return why
    return [Edit(span, new) for span in references(document, offset)]


def _refused(document: Document, old: str, new: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", new) or new in RESERVED:
        return f"`{new}` is not a name"
    taken = {*document.scope.names, *document.scope.imports} | {
        each.name.text for each in document.file.declarations() if each.kind.text == "profile"
    }
    if new in taken and new != old:
        return f"`{new}` is declared already"
    if _broken(document.file.items):
        return "the file has mistakes of syntax; uses in them would be missed"
    return ""


def _broken(items: tuple[Item, ...]) -> bool:
    inner = (each.items or () for each in items if isinstance(each, Declaration | Block))
    return any(isinstance(each, Broken) for each in items) or any(map(_broken, inner))
