"""Text -> tokens. The lexer is total: whatever is written becomes tokens, gaps the rest."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

import lark
from lark import Lark
from platformdirs import user_cache_path

from tunelang.source import Source, Span
from tunelang.syntax.tree import Token

PACKAGED = Path(__file__).with_name("tune.lark")  # in a wheel
CHECKOUT = Path(__file__).parents[2] / "grammar" / "tune.lark"
JUNK = ("JUNK", "BAD_NUMBER", "BAD_STRING")
MOST_JUNK = 2000  # a text with more stray characters than this is no recipe


@cache
def grammar() -> Lark:
    """The parser's tables, read from a cache where there is a place for one (500 ms -> 7 ms)."""
    path = PACKAGED if PACKAGED.exists() else CHECKOUT
    text = path.read_text(encoding="utf-8")
    name = hashlib.sha256(f"{lark.__version__}\n{text}".encode()).hexdigest()[:16]
    try:
        folder = user_cache_path("tunelang")
        folder.mkdir(parents=True, exist_ok=True)
        return _build(text, str(folder / f"grammar-{name}.lark"))
    except Exception:  # an unwritable or damaged cache must never cost more than its time
        return _build(text, None)


def _build(text: str, cached: str | None) -> Lark:
    return Lark(
        text,
        start=["start", "item"],
        parser="lalr",
        lexer="basic",
        keep_all_tokens=True,
        maybe_placeholders=False,
        cache=cached or False,
    )


def lex(source: Source) -> tuple[Token, ...]:
    """Every token in order, then END; gaps and texts join to the source.

    A text that is mostly junk ends early: its END token then has a gap that holds the rest.
    """
    interactive = grammar().parse_interactive(source.text, start="start")
    tokens: list[Token] = []
    position = junk = 0
    lexed = interactive.lexer_thread.lex(interactive.parser_state)  # type: ignore[no-untyped-call]
    for found in lexed:
        start, end = found.start_pos or 0, found.end_pos or 0
        gap = source.text[position:start]
        tokens.append(Token(found.type, str(found), Span(source, start, end), gap))
        position = end
        junk += found.type in JUNK
        if junk > MOST_JUNK:
            break
    length = len(source.text)
    tokens.append(Token("END", "", Span(source, length, length), source.text[position:]))
    return tuple(tokens)


def joined(tokens: tuple[Token, ...]) -> str:
    """The exact text that tokens came from."""
    return "".join(token.gap + token.text for token in tokens)
