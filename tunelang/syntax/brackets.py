"""Brackets: every one that is open gets its closer, so that a file can be cut into items.

Three guesses help: inside `(` or `[` a line that starts like an item closes the bracket, a
declaration at column 1 closes every open brace, and a header with fields below it opens one.
"""

from __future__ import annotations

from collections.abc import Sequence

from tunelang.diagnostic import Diagnostic, Edit, Fix, error
from tunelang.source import Span
from tunelang.syntax.lexical import again
from tunelang.syntax.parse import OPEN
from tunelang.syntax.tree import Token

Numbered = tuple[int, Token]  # a token and its index in the file
HEADERS = (
    ["NAME", "NAME"],
    ["NAME", "NAME", "COLON", "NAME"],
    ["NAME", "NAME", "EXTENDS", "NAME"],
)
LONGEST_HEADER = 4  # tokens of the longest of them


def closed(tokens: Sequence[Token], found: list[Diagnostic]) -> tuple[list[Numbered], list[Token]]:
    """Tokens with every bracket closed; closers that are missing are added with no text."""
    extended = list(tokens)
    out: list[Numbered] = []
    depth: list[Token] = []
    index = 0

    def close(at: Token) -> None:
        opener = depth.pop()
        swallowed = _unfinished(tokens, opener, index)
        # The closer may stand in text that is never closed itself.
        if opener.text and not swallowed:
            _unclosed(opener, _last(tokens, index), found)
        extended.append(
            Token(OPEN[opener.kind], "", Span(at.span.source, at.span.start, at.span.start))
        )
        out.append((len(extended) - 1, extended[-1]))

    for index, token in enumerate(tokens):
        if not depth and _header_ends(tokens, index):
            depth.append(_opened(tokens[index - 1], found))
            extended.append(depth[-1])
            out.append((len(extended) - 1, extended[-1]))
        if token.kind == "NEWLINE" and depth and depth[-1].kind != "LBRACE":
            if not _starts_item(tokens, index + 1):
                continue
            while depth and depth[-1].kind != "LBRACE":
                close(token)
        elif token.kind in ("LPAR", "LBRACE") and tokens[index - 1].kind == token.kind:
            found.append(again(token))
            continue
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


def _unfinished(tokens: Sequence[Token], opener: Token, index: int) -> bool:
    """Whether a text that is never closed stands between the opener and here."""
    while index and tokens[index - 1].span.start > opener.span.start:
        index -= 1
        if tokens[index].kind == "BAD_STRING":
            return True
    return False


def _last(tokens: Sequence[Token], index: int) -> Token:
    """The token before here, line ends aside."""
    while tokens[index - 1].kind == "NEWLINE":
        index -= 1
    return tokens[index - 1]


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
    """`name = value,` or `name = value)` on its own line inside a call: an argument, no item.

    The value may be a list or a call that is closed.
    """
    inside = 0
    for at, token in enumerate(tokens[index : index + 60], index):
        if token.kind in ("LPAR", "LSQB"):
            inside += 1
        elif inside and token.kind in ("RPAR", "RSQB"):
            inside -= 1
        elif token.kind in ("END", "LBRACE"):
            return False
        elif not inside and token.kind in ("COMMA", "RPAR", "RSQB"):
            return True
        elif not inside and token.kind == "NEWLINE" and at > index:
            return _kinds(tokens, at, 1) in (["RPAR"], ["RSQB"])
    return False


def _declares_at_margin(tokens: Sequence[Token], index: int) -> bool:
    """A declaration that starts in column 1."""
    token = tokens[index]
    if token.kind not in ("NAME", "IMPORT") or token.span.source.position(token.span.start)[1] != 1:
        return False
    return token.kind == "IMPORT" or _kinds(tokens, index, 2) == ["NAME", "NAME"]


def _header_ends(tokens: Sequence[Token], index: int) -> bool:
    """`stage chat: sft`, and below it a field that is indented, or behind it one and a `}`."""
    start = index
    while start and tokens[start - 1].kind != "NEWLINE" and index - start <= LONGEST_HEADER:
        start -= 1
    ahead = [token for token in tokens[index : index + 6] if token.kind != "NEWLINE"][:2]
    fits = [token.kind for token in tokens[start:index]] in HEADERS
    if not fits or [token.kind for token in ahead] != ["NAME", "EQ"]:
        return False
    if tokens[index].kind == "NEWLINE":
        return ahead[0].span.source.position(ahead[0].span.start)[1] > 1
    return "RBRACE" in _line(tokens, index)


def _line(tokens: Sequence[Token], index: int) -> list[str]:
    """The kinds from here to the end of the line."""
    end = next(i for i, t in enumerate(tokens[index:]) if t.kind in ("NEWLINE", "END"))
    return [token.kind for token in tokens[index : index + end]]


def _opened(last: Token, found: list[Diagnostic]) -> Token:
    """TL005: the `{` that is missing behind a header."""
    source, end = last.span.source, last.span.end
    place = Span(source, end, end)
    found.append(
        error(
            "TL005",
            "unclosed-bracket",
            "these fields stand in no brackets",
            last.span,
            "write `{` behind this",
            help="fields of a declaration stand between `{` and `}`",
            fix=Fix("add {", (Edit(place, " {"),), safe=False),
        )
    )
    return Token("LBRACE", "", place)
