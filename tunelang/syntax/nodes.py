"""Lark's parse tree -> our typed nodes. Every leaf is the index of one of our tokens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import lark

from tunelang.source import Span
from tunelang.syntax.tree import (
    Argument,
    Assignment,
    Block,
    Call,
    Check,
    Declaration,
    Import,
    Item,
    ListValue,
    Path,
    Scalar,
    Token,
    Value,
)

ITEMS = ("import_", "declaration", "block", "assignment", "check")


def leaf(token: Token, index: int) -> lark.Token:
    """Our token for lark's parser, which hands its index back."""
    return lark.Token(token.kind, token.text, start_pos=index)


class Nodes:
    """Builds nodes over one list of tokens; leaves count from the token number `base`."""

    def __init__(self, tokens: Sequence[Token], base: int = 0) -> None:
        self.tokens = tokens
        self.base = base

    def items(self, trees: Sequence[Any]) -> tuple[Item, ...]:
        return tuple(self.item(each) for each in trees if getattr(each, "data", "") in ITEMS)

    def item(self, tree: Any) -> Item:
        build: dict[str, Callable[[Any], Item]] = {
            "import_": self._import,
            "declaration": self._declaration,
            "block": self._block,
            "assignment": self._assignment,
            "check": self._check,
        }
        return build[tree.data](tree)

    def token(self, found: Any) -> Token:
        index: int = found.start_pos
        return self.tokens[self.base + index]

    def _span(self, tree: Any) -> Span:
        first, last = tree, tree
        while not isinstance(first, lark.Token):
            first = first.children[0]
        while not isinstance(last, lark.Token):
            last = last.children[-1]
        return self.token(first).span.to(self.token(last).span)

    def _of(self, tree: Any, kind: str) -> list[Token]:
        return [
            self.token(c) for c in tree.children if isinstance(c, lark.Token) and c.type == kind
        ]

    def _one(self, tree: Any, *names: str) -> Any:
        return next((c for c in tree.children if any(_is(c, name) for name in names)), None)

    def _import(self, tree: Any) -> Import:
        place, alias, hashes = (
            self._of(tree, "STRING")[0],
            self._of(tree, "NAME")[0],
            self._of(tree, "HASH"),
        )
        return Import(place, alias, hashes[0] if hashes else None, self._span(tree))

    def _declaration(self, tree: Any) -> Declaration:
        names = self._of(tree, "NAME")
        path, body, value = (
            self._one(tree, "path"),
            self._one(tree, "body"),
            self._one(tree, "value"),
        )
        return Declaration(
            kind=names[0],
            name=names[1],
            type=names[2] if len(names) > 2 else None,
            extends=self._path(path) if path is not None else None,
            items=self.items(body.children) if body is not None else None,
            value=self.value(value) if value is not None else None,
            span=self._span(tree),
            doc=self._doc(self._first(tree)),
        )

    def _first(self, tree: Any) -> int:
        while not isinstance(tree, lark.Token):
            tree = tree.children[0]
        return self.base + int(tree.start_pos or 0)

    def _doc(self, index: int) -> str:
        """The `##` lines right above the token at `index`."""
        lines: list[str] = []
        at = index - 1
        while at >= 0 and self.tokens[at].kind == "NEWLINE":
            text = self.tokens[at].gap.strip()
            alone = at == 0 or self.tokens[at - 1].kind == "NEWLINE"
            if not (text.startswith("##") and alone):
                break
            lines.append(text[2:].strip())
            at -= 1
        return "\n".join(reversed(lines))

    def _block(self, tree: Any) -> Block:
        return Block(
            self._of(tree, "NAME")[0],
            self.items(self._one(tree, "body").children),
            self._span(tree),
        )

    def _assignment(self, tree: Any) -> Assignment:
        return Assignment(
            self._path(tree.children[0]), self.value(tree.children[-1]), self._span(tree)
        )

    def _check(self, tree: Any) -> Check:
        operand = (
            self._call(tree.children[0])
            if _is(tree.children[0], "call")
            else self._path(tree.children[0])
        )
        return Check(
            operand, self._of(tree, "CMP")[0], self.value(tree.children[-1]), self._span(tree)
        )

    def _path(self, tree: Any) -> Path:
        return Path(tuple(self._of(tree, "NAME")), self._span(tree))

    def value(self, tree: Any) -> Value:
        inner = tree.children[0]
        if _is(inner, "scalar"):
            tokens = [self.token(each) for each in inner.children]
            return Scalar(tokens[0], tokens[1] if len(tokens) > 1 else None, self._span(inner))
        if _is(inner, "path"):
            return self._path(inner)
        if _is(inner, "call"):
            return self._call(inner)
        values = tuple(self.value(each) for each in inner.children if _is(each, "value"))
        return ListValue(values, self._span(inner))

    def _call(self, tree: Any) -> Call:
        arguments = tuple(self._argument(each) for each in tree.children if _is(each, "argument"))
        return Call(self._path(tree.children[0]), arguments, self._span(tree))

    def _argument(self, tree: Any) -> Argument:
        names = self._of(tree, "NAME")
        return Argument(
            names[0] if names else None, self.value(tree.children[-1]), self._span(tree)
        )


def _is(tree: Any, name: str) -> bool:
    return isinstance(tree, lark.Tree) and tree.data == name
