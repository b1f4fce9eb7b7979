"""Tree-free formatting: tokens and gaps -> text in the one house style.

Works on files that do not check, since it looks at tokens only. Two spaces, 100 columns, one blank
line at most, no alignment; comments are kept; what was on one line stays there if it fits.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from tunelang.source import Source
from tunelang.syntax.lexer import complete, lex
from tunelang.syntax.tree import Token

WIDTH = 100
OPENERS = ("LPAR", "LSQB", "LBRACE")
CLOSERS = ("RPAR", "RSQB", "RBRACE")
TIGHT_BEFORE = ("RPAR", "RSQB", "COMMA", "COLON", "DOT", "NEWLINE", "END")
NOT_UNDERSTOOD = ("BAD_NUMBER", "BAD_STRING", "JUNK")
TIGHT_AFTER = ("LPAR", "LSQB", "DOT")
NO_COMMA_AFTER = ("COMMA", *OPENERS, *NOT_UNDERSTOOD)  # an open text would take the comma in


@dataclass
class Line:
    """One line of the input: its tokens, its comment, and whether an empty line came before."""

    tokens: list[Token] = field(default_factory=list)
    comment: str = ""
    blank_before: bool = False


def format(source: Source) -> str:
    """The text in house style; formatting it again changes nothing. What is no recipe stays."""
    tokens = lex(source)
    if not complete(tokens):
        return source.text
    out: list[str] = []
    depth = 0
    lines = list(_lines(tokens))
    stack: list[str] = []
    for line, after in pairwise([*lines, Line()]):
        _trailing_comma(line, after, stack)
        closes = _leading_closers(line.tokens)
        depth = max(0, depth - closes)
        if (
            line.blank_before
            and out
            and not out[-1].rstrip().endswith(("{", "(", "["))
            and not closes
        ):
            out.append("")
        out += _render(line, depth)
        depth = max(0, depth + _net(line.tokens) + closes)
    return "\n".join(out) + "\n" if out else ""


def _trailing_comma(line: Line, after: Line, stack: list[str]) -> None:
    """The last item of a call or list that ends on a line of its own gets a comma."""
    for token in line.tokens:
        if token.kind in OPENERS:
            stack.append(token.kind)
        elif token.kind in CLOSERS and stack:
            stack.pop()
    inside = bool(stack) and stack[-1] in ("LPAR", "LSQB")
    ends = bool(after.tokens) and after.tokens[0].kind in ("RPAR", "RSQB")
    if inside and ends and line.tokens and line.tokens[-1].kind not in NO_COMMA_AFTER:
        line.tokens.append(Token("COMMA", ",", line.tokens[-1].span))


def _lines(tokens: Sequence[Token]) -> Iterator[Line]:
    line, blank = Line(), False
    for token in tokens:
        comment = token.gap.strip().lstrip("﻿")
        # A lone carriage return is some editor's line end.
        if token.kind not in ("NEWLINE", "END") and token.text != "\r":
            line.tokens.append(token)
            continue
        line.comment = comment
        if line.tokens or line.comment:
            line.tokens = _without_trailing_comma(line.tokens)
            line.blank_before = blank
            yield line
            line, blank = Line(), False
        else:
            blank = True


def _leading_closers(tokens: Sequence[Token]) -> int:
    count = 0
    for token in tokens:
        if token.kind not in CLOSERS:
            break
        count += 1
    return count


def _net(tokens: Sequence[Token]) -> int:
    return sum((token.kind in OPENERS) - (token.kind in CLOSERS) for token in tokens)


def _balanced(tokens: Sequence[Token]) -> bool:
    """Whether every bracket of a line is opened and closed in it, in this order."""
    depth = 0
    for token in tokens:
        depth += (token.kind in OPENERS) - (token.kind in CLOSERS)
        if depth < 0:
            return False
    return depth == 0


def _render(line: Line, depth: int) -> list[str]:
    indent = "  " * depth
    comment = _comment(line.comment)
    if not line.tokens:
        return [indent + comment]
    text = indent + _join(line.tokens)
    if len(text) > WIDTH and _balanced(line.tokens):
        broken = _broken(line.tokens, indent)
        if broken:
            return [_with(broken[0], comment), *broken[1:]]
    return [_with(text, comment)]


def _with(text: str, comment: str) -> str:
    """A line and its trailing comment, two spaces apart."""
    return f"{text}  {comment}" if comment else text


def _comment(text: str) -> str:
    """`#x` becomes `# x`; `##` and `#!` keep their marks."""
    if not text:
        return ""
    mark = "##" if text.startswith("##") else "#"
    rest = text[len(mark) :]
    return f"{mark} {rest}".rstrip() if rest and not rest[0].isspace() else text


def _without_trailing_comma(tokens: list[Token]) -> list[Token]:
    """Commas before a closing bracket on the same line, and doubled ones, are dropped."""
    kept: list[Token] = []
    for index, token in enumerate(tokens):
        after = tokens[index + 1].kind if index + 1 < len(tokens) else ""
        if token.kind == "COMMA" and (after in (*CLOSERS, "COMMA")):
            continue
        kept.append(token)
    return kept


def _join(tokens: Sequence[Token]) -> str:
    text = ""
    for index, token in enumerate(tokens):
        if index and _space(tokens[index - 1], token):
            text += " "
        text += token.text
    return text


def _space(before: Token, token: Token) -> bool:
    odd = before.kind in NOT_UNDERSTOOD or token.kind in NOT_UNDERSTOOD
    # A dot belongs between names; beside a number it would become part of it.
    stray = {before.kind, token.kind} - {"NAME"} != {"DOT"} and "DOT" in (before.kind, token.kind)
    if odd or stray:
        return bool(token.gap)  # what is not understood is not touched
    if token.kind == "LPAR":
        return before.kind not in ("NAME", *TIGHT_AFTER)
    if before.kind == "LBRACE" and token.kind == "RBRACE":
        return False
    return token.kind not in TIGHT_BEFORE and before.kind not in TIGHT_AFTER


def _broken(tokens: Sequence[Token], indent: str) -> list[str]:
    """A line that is too long: its last outermost bracket with content, one item a line."""
    span = _outermost(tokens)
    if span is None:
        return []
    start, end = span
    comma = "" if tokens[start].kind == "LBRACE" else ","
    head = indent + _join(tokens[: start + 1])
    items = [f"{indent}  {_join(item)}{comma}" for item in _items(tokens[start + 1 : end])]
    tail = indent + _join(tokens[end:])
    return [head, *items, tail]


def _outermost(tokens: Sequence[Token]) -> tuple[int, int] | None:
    """The widest bracket pair of the line."""
    stack: list[int] = []
    widest: tuple[int, int] | None = None
    for index, token in enumerate(tokens):
        if token.kind in OPENERS:
            stack.append(index)
        elif token.kind in CLOSERS and stack:
            pair = (stack.pop(), index)
            if not stack and (widest is None or pair[1] - pair[0] > widest[1] - widest[0]):
                widest = pair
    return widest if widest and widest[1] > widest[0] + 1 else None


def _items(tokens: Sequence[Token]) -> Iterator[list[Token]]:
    item: list[Token] = []
    depth = 0
    for token in tokens:
        if token.kind == "COMMA" and depth == 0:
            if item:
                yield item
            item = []
            continue
        depth += (token.kind in OPENERS) - (token.kind in CLOSERS)
        item.append(token)
    if item:
        yield item
