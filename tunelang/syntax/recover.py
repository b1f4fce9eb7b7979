"""Recovery: a file with mistakes becomes its sound items and one diagnostic for each mistake.

Tokens are cut into items by bracket depth and line; each item is parsed on its own. Two guesses
help: inside `(` or `[` a line that starts like an item closes the bracket, and a declaration at
column 1 closes every open brace.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from lark.exceptions import UnexpectedToken

from tunelang.diagnostic import Diagnostic, Edit, Fix, error
from tunelang.source import Source, Span
from tunelang.syntax.lexer import grammar
from tunelang.syntax.lexical import Mistake
from tunelang.syntax.mistakes import explain
from tunelang.syntax.nodes import Nodes, leaf
from tunelang.syntax.parse import OPEN
from tunelang.syntax.tree import Block, Broken, Declaration, File, Item, Token

Numbered = tuple[int, Token]  # a token and its index in the file


def recover(source: Source, tokens: tuple[Token, ...]) -> tuple[File, list[Diagnostic]]:
    """The file as far as it is sound, and what is wrong with the rest."""
    found: list[Diagnostic] = []
    numbered, extended = _closed(tokens, found)
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


def _closed(tokens: Sequence[Token], found: list[Diagnostic]) -> tuple[list[Numbered], list[Token]]:
    """Tokens with every bracket closed; closers that are missing are added with no text."""
    extended = list(tokens)
    out: list[Numbered] = []
    depth: list[Token] = []
    index = 0

    def close(at: Token) -> None:
        opener = depth.pop()
        swallowed = any(t.kind == "BAD_STRING" for t in tokens[tokens.index(opener) : index])
        if not swallowed:  # the closer may stand in text that is never closed itself
            last = next(t for t in reversed(tokens[:index]) if t.kind != "NEWLINE")
            _unclosed(opener, last, found)
        extended.append(
            Token(OPEN[opener.kind], "", Span(at.span.source, at.span.start, at.span.start))
        )
        out.append((len(extended) - 1, extended[-1]))

    for index, token in enumerate(tokens):
        if token.kind == "NEWLINE" and depth and depth[-1].kind != "LBRACE":
            if not _starts_item(tokens, index + 1):
                continue
            while depth and depth[-1].kind != "LBRACE":
                close(token)
        elif token.kind in OPEN:
            depth.append(token)
        elif token.kind in OPEN.values():
            while (
                depth
                and OPEN[depth[-1].kind] != token.kind
                and any(OPEN[d.kind] == token.kind for d in depth)
            ):
                close(token)
            if not depth or OPEN[depth[-1].kind] != token.kind:
                found.append(
                    error(
                        "TL005",
                        "unclosed-bracket",
                        f"nothing is open that `{token.text}` closes",
                        token.span,
                        "closes nothing",
                        help=f"delete this `{token.text}`",
                        fix=Fix(f"delete {token.text}", (Edit(token.span, ""),), safe=False),
                    )
                )
                continue
            depth.pop()
        elif depth and _declares_at_margin(tokens, index):
            while depth:
                close(token)
            extended.append(
                Token("NEWLINE", "", Span(token.span.source, token.span.start, token.span.start))
            )
            out.append((len(extended) - 1, extended[-1]))
        elif token.kind == "END":
            while depth:
                close(token)
            continue
        out.append((index, token))
    return out, extended


def _unclosed(opener: Token, last: Token, found: list[Diagnostic]) -> None:
    """TL005, with a fix that closes the bracket behind the last token that it can hold."""
    closer = {"(": ")", "[": "]", "{": "}"}[opener.text]
    source, end = last.span.source, last.span.end
    same_line = "\n" not in source.text[opener.span.start : end]
    text = closer if closer != "}" else " }" if same_line else "\n}"
    fix = Fix(f"close with {closer}", (Edit(Span(source, end, end), text),), safe=False)
    found.append(
        error(
            "TL005",
            "unclosed-bracket",
            f"this `{opener.text}` is never closed",
            opener.span,
            "opened here",
            help=f"write `{closer}` where it ends",
            fix=fix,
        )
    )


def _kinds(tokens: Sequence[Token], index: int, most: int) -> list[str]:
    ahead = [token.kind for token in tokens[index : index + 12] if token.kind != "NEWLINE"]
    return ahead[:most]


def _starts_item(tokens: Sequence[Token], index: int) -> bool:
    kinds = _kinds(tokens, index, 2)
    return (
        kinds in (["NAME", "NAME"], ["NAME", "LBRACE"], ["NAME", "EQ"])
        and not _is_argument(tokens, index)
    ) or kinds[:1] == ["RBRACE"]


def _is_argument(tokens: Sequence[Token], index: int) -> bool:
    """`name = value,` or `name = value)` on its own line inside a call: an argument, no item."""
    for token in tokens[index : index + 60]:
        if token.kind in ("COMMA", "RPAR", "RSQB"):
            return True
        if token.kind in ("LPAR", "LSQB", "END", "LBRACE") or (
            token.kind == "NEWLINE" and token is not tokens[index]
        ):
            return (
                _kinds(tokens, tokens.index(token), 1) in (["RPAR"], ["RSQB"])
                if token.kind == "NEWLINE"
                else False
            )
    return False


def _declares_at_margin(tokens: Sequence[Token], index: int) -> bool:
    """A declaration that starts in column 1."""
    token = tokens[index]
    if token.kind not in ("NAME", "IMPORT") or token.span.source.position(token.span.start)[1] != 1:
        return False
    return token.kind == "IMPORT" or _kinds(tokens, index, 2) == ["NAME", "NAME"]


def _chunks(tokens: Sequence[Numbered]) -> Iterator[list[Numbered]]:
    """Items: cut at every newline and comma outside brackets."""
    chunk: list[Numbered] = []
    depth = 0
    for index, token in tokens:
        if token.kind in ("NEWLINE", "COMMA") and depth == 0:
            yield chunk
            chunk = []
            continue
        depth += (token.kind in OPEN) - (token.kind in OPEN.values())
        chunk.append((index, token))
    yield chunk


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
            return Broken(tokens, tokens[0].span.to(tokens[-1].span))
        item = self.nodes.item(tree.children[0])
        bad = _first_bad(chunk)
        if bad is not None:
            tokens = tuple(token for _, token in chunk)
            self.found.append(explain(Mistake(tokens, bad, frozenset())))
        return item


def _first_bad(chunk: list[Numbered]) -> int | None:
    """A value that lexed as junk parses, so that its item is kept, and is reported all the same."""
    from tunelang.syntax.lexer import JUNK

    return next((at for at, (_, token) in enumerate(chunk) if token.kind in JUNK), None)


def _body(chunk: list[Numbered]) -> tuple[int, int] | None:
    """Where the braces of the item's own body stand in the chunk."""
    depth = 0
    for at, (_, token) in enumerate(chunk):
        if token.kind == "LBRACE" and depth == 0 and chunk[-1][1].kind == "RBRACE":
            return at, len(chunk) - 1
        depth += (token.kind in ("LPAR", "LSQB")) - (token.kind in ("RPAR", "RSQB"))
    return None
