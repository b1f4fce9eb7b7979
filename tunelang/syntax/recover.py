"""Recovery: a file with mistakes becomes its sound items and one diagnostic for each mistake.

Tokens are cut into items by bracket depth and line (`brackets.py` closes what is open); each item
is parsed on its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from lark.exceptions import UnexpectedToken

from tunelang.diagnostic import Diagnostic, error
from tunelang.source import Source
from tunelang.syntax.brackets import Numbered, closed
from tunelang.syntax.lexer import JUNK, grammar
from tunelang.syntax.lexical import QUOTES, Mistake, in_number
from tunelang.syntax.mistakes import explain
from tunelang.syntax.nodes import Nodes, leaf
from tunelang.syntax.parse import OPEN
from tunelang.syntax.tree import Block, Broken, Declaration, File, Item, Token


def recover(source: Source, tokens: tuple[Token, ...]) -> tuple[File, list[Diagnostic]]:
    """The file as far as it is sound, and what is wrong with the rest."""
    found: list[Diagnostic] = []
    numbered, extended = closed(tokens, found)
    work = Recovery(Nodes(extended), found)
    chunks = [chunk for chunk in _chunks(numbered) if chunk]
    edition = None
    if chunks and chunks[0][0][1].kind == "TUNE":
        edition = _edition(chunks.pop(0), found)
    items = tuple(work.item(chunk) for chunk in chunks)
    return File(source, edition, items, tokens), found


def _edition(chunk: list[Numbered], found: list[Diagnostic]) -> Token | None:
    kinds = [token.kind for _, token in chunk]
    if kinds == ["TUNE", "NUMBER"]:
        return chunk[1][1]
    span = chunk[0][1].span.to(chunk[-1][1].span)
    found.append(
        error(
            "TL002",
            "unknown-edition",
            f"`{span.text}` names no edition",
            span,
            "not an edition",
            help="write `tune 1`",
        )
    )
    return None


def _chunks(tokens: Sequence[Numbered]) -> Iterator[list[Numbered]]:
    """Items: cut at every newline and comma outside brackets."""
    chunk: list[Numbered] = []
    depth = 0
    for at, (index, token) in enumerate(tokens):
        ends = token.kind == "NEWLINE" or (token.kind == "COMMA" and not _in_number(tokens, at))
        if ends and depth == 0:
            yield chunk
            chunk = []
            continue
        depth += (token.kind in OPEN) - (token.kind in OPEN.values())
        chunk.append((index, token))
    yield chunk


def _in_number(tokens: Sequence[Numbered], at: int) -> bool:
    near = [token for _, token in tokens[max(0, at - 1) : at + 2]]
    return len(near) == 3 and in_number(near[0], near[1], near[2])


class Recovery:
    """Parses items one by one over the same nodes and findings."""

    def __init__(self, nodes: Nodes, found: list[Diagnostic]) -> None:
        self.nodes = nodes
        self.found = found

    def item(self, chunk: list[Numbered]) -> Item:
        """One item; a body is recovered item by item in turn."""
        body = _body(chunk)
        if body is None:
            return self._parsed([pair for pair in chunk if pair[1].kind != "NEWLINE"])
        start, end = body
        head = self._parsed([*chunk[: start + 1], *chunk[end:]])
        items = tuple(self.item(inner) for inner in _chunks(chunk[start + 1 : end]) if inner)
        if isinstance(head, Declaration | Block):
            return replace(head, items=items)
        return head

    def _parsed(self, chunk: list[Numbered]) -> Item:
        interactive = grammar().parse_interactive("", start="item")
        last = None
        at = -1
        try:
            for index, token in chunk:
                at += 1
                last = leaf(token, index)
                interactive.feed_token(last)
            at = len(chunk)
            tree = interactive.feed_eof(last)  # type: ignore[no-untyped-call]
        except UnexpectedToken:
            tokens = tuple(token for _, token in chunk)
            accepts = frozenset(interactive.accepts())  # type: ignore[no-untyped-call]
            self.found.append(explain(Mistake(tokens, at, accepts)))
            return self._without_junk(chunk) or Broken(tokens, tokens[0].span.to(tokens[-1].span))
        item = self.nodes.item(tree.children[0])
        bad = _first_bad(chunk)
        if bad is not None:
            tokens = tuple(token for _, token in chunk)
            self.found.append(explain(Mistake(tokens, bad, frozenset())))
        return item

    def _without_junk(self, chunk: list[Numbered]) -> Item | None:
        """The item as it is without stray characters, so that nothing else is said of it."""
        sound = [pair for pair in chunk if pair[1].kind != "JUNK"]
        quotes = "".join(QUOTES)
        if len(sound) in (0, len(chunk)) or any(
            token.kind == "JUNK" and token.text in quotes for _, token in chunk
        ):
            return None
        item = Recovery(self.nodes, [])._parsed(sound)
        return None if isinstance(item, Broken) else item


def _first_bad(chunk: list[Numbered]) -> int | None:
    """A value that lexed as junk parses, so that its item is kept, and is reported all the same."""
    return next((at for at, (_, token) in enumerate(chunk) if token.kind in JUNK), None)


def _body(chunk: list[Numbered]) -> tuple[int, int] | None:
    """Where the braces of the item's own body stand in the chunk."""
    depth = 0
    for at, (_, token) in enumerate(chunk):
        if token.kind == "LBRACE" and depth == 0 and chunk[-1][1].kind == "RBRACE":
            return at, len(chunk) - 1
        depth += (token.kind in ("LPAR", "LSQB")) - (token.kind in ("RPAR", "RSQB"))
    return None
