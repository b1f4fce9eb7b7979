"""Parsing a text again after a small change: items whose text is known are not parsed anew.

Gives what `parse` gives. The tree of each item is kept as Lark made it, with its tokens counted
from the item's first, so that it fits wherever the item has moved to.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

from lark.exceptions import UnexpectedToken

from tunelang.diagnostic import Diagnostic
from tunelang.source import Source, Span
from tunelang.syntax.lexer import JUNK, grammar, lex
from tunelang.syntax.nodes import Nodes, leaf
from tunelang.syntax.parse import OPEN, finished, impossible, parse, significant
from tunelang.syntax.tree import File, Item, Token

MOST_TREES = 5_000  # items of all open recipes; 2,000 lines have about 400


class Parser:
    """Remembers the trees of items by their text."""

    def __init__(self) -> None:
        self.trees: dict[str, Any] = {}

    def parse(self, source: Source) -> tuple[File, list[Diagnostic]]:
        """The tree of a text and what is wrong with its syntax."""
        tokens = lex(source)
        cuts = list(_declarations(tokens))
        if impossible(tokens) or _nested(tokens, cuts):
            return parse(source)
        if len(self.trees) > MOST_TREES:
            self.trees.clear()
        work = _Work(source, tokens, self.trees)
        for start, end in pairwise([0, *cuts, len(tokens) - 1]):
            work.segment(start, end)
        return finished(File(source, work.edition, tuple(work.items), tokens), work.found)


class _Work:
    """One text on its way from segments to items."""

    def __init__(self, source: Source, tokens: tuple[Token, ...], trees: dict[str, Any]) -> None:
        self.source, self.tokens, self.trees = source, tokens, trees
        self.items: list[Item] = []
        self.found: list[Diagnostic] = []
        self.edition: Token | None = None

    def segment(self, start: int, end: int) -> None:
        """From one declaration in column 1 to the next: sound items, else what recovery finds."""
        regions = list(_regions(self.tokens, start, end))
        kinds = [token.kind for token in self.tokens[slice(*regions[0])]] if regions else []
        headed = start == 0 and kinds == ["TUNE", "NUMBER"]
        trees = [self._tree(*region) for region in regions[headed:]]
        if None in trees:
            self._recovered(start, end)
            return
        if headed:
            self.edition = self.tokens[regions[0][0] + 1]
        for (first, _), tree in zip(regions[headed:], trees, strict=True):
            self.items.append(Nodes(self.tokens, first).item(tree.children[0]))

    def _tree(self, start: int, end: int) -> Any:
        first, last = self.tokens[start].span.start, self.tokens[end - 1].span.end
        text = self.source.text[first:last]
        if text not in self.trees:
            tree = _parsed(self.tokens[start:end])
            if tree is None:
                return None
            self.trees[text] = tree
        return self.trees[text]

    def _recovered(self, start: int, end: int) -> None:
        from tunelang.syntax.recover import recover

        at = self.tokens[end].span.start
        last = Token("END", "", Span(self.source, at, at))
        file, found = recover(self.source, (*self.tokens[start:end], last))
        self.items += file.items
        self.found += found
        self.edition = self.edition or file.edition


def _parsed(tokens: Sequence[Token]) -> Any:
    """Lark's tree of one item, None where it is no sound item."""
    if any(token.kind in JUNK for token in tokens):
        return None
    interactive = grammar().parse_interactive("", start="item")
    last = None
    try:
        for index, token in significant(tokens):
            last = leaf(token, index)
            interactive.feed_token(last)
        return interactive.feed_eof(last)  # type: ignore[no-untyped-call]
    except UnexpectedToken:
        return None


def _regions(tokens: Sequence[Token], start: int, end: int) -> Iterator[tuple[int, int]]:
    """Runs of tokens between the newlines and commas that stand outside all brackets."""
    depth = 0
    for index in range(start, end):
        kind = tokens[index].kind
        if depth == 0 and kind in ("NEWLINE", "COMMA"):
            if index > start:
                yield start, index
            start = index + 1
        depth = max(0, depth + (kind in OPEN) - (kind in OPEN.values()))
    if end > start:
        yield start, end


def _declarations(tokens: Sequence[Token]) -> Iterator[int]:
    """Where declarations begin in column 1: with a mistake before them, they close what is open."""
    for index in range(1, len(tokens) - 1):
        token = tokens[index]
        if token.gap or tokens[index - 1].kind != "NEWLINE":
            continue
        if token.kind == "IMPORT" or (token.kind == tokens[index + 1].kind == "NAME"):
            yield index


def _nested(tokens: Sequence[Token], cuts: Sequence[int]) -> bool:
    """Whether brackets are sound and a declaration in column 1 stands inside some."""
    inside, depth, at = False, 0, set(cuts)
    for index, token in enumerate(tokens):
        inside |= depth > 0 and index in at
        depth += (token.kind in OPEN) - (token.kind in OPEN.values())
        if depth < 0:
            return False
    return inside and depth == 0
