"""Text -> tokens. The lexer is total: whatever is written becomes tokens, gaps the rest."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from functools import cache, lru_cache
from pathlib import Path

import lark
from lark import Lark
from lark.lexer import TerminalDef
from platformdirs import user_cache_path

from tunelang.source import Source, Span
from tunelang.syntax.tree import Token

PACKAGED = Path(__file__).with_name("tune.lark")  # in a wheel
CHECKOUT = Path(__file__).parents[2] / "grammar" / "tune.lark"
IGNORED = ("BLANK", "COMMENT")  # they become gaps
JUNK = ("JUNK", "BAD_NUMBER", "BAD_STRING")
MOST_JUNK = 2000  # a text with more stray characters than this is no recipe
MOST_TOKENS = 100_000  # nor one this long: 200 lines have about 1,100; this is read in 2 s


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


@cache
def _scanner() -> tuple[re.Pattern[str], Mapping[str, str]]:
    """All terminals as one expression, and the names of the reserved words.

    What Lark's lexer does, without its count of lines and columns, in half its time.
    """
    terminals = ordered(grammar().terminals)
    words = {each.pattern.value: each.name for each in terminals if is_word(each)}
    expressions = [
        f"(?P<{each.name}>{each.pattern.to_regexp()})" for each in terminals if not is_word(each)
    ]
    return re.compile("|".join(expressions)), words


def is_word(terminal: TerminalDef) -> bool:
    """A reserved word: what is a name by its form, and is none."""
    return terminal.pattern.type == "str" and terminal.pattern.value.isalpha()


def ordered(terminals: Iterable[TerminalDef]) -> list[TerminalDef]:
    """The order in which Lark tries terminals: by priority, then the longest first."""
    return sorted(
        terminals,
        key=lambda each: (
            -each.priority,
            -each.pattern.max_width,
            -len(each.pattern.value),
            each.name,
        ),
    )


@lru_cache(maxsize=8)  # the parser, the formatter and rules each ask for the same text
def lex(source: Source) -> tuple[Token, ...]:
    """Every token in order, then END; gaps and texts join to the source.

    A text that is mostly junk, or endless, ends early: END then has a gap that holds the rest.
    """
    scanner, words = _scanner()
    tokens: list[Token] = []
    position = junk = 0
    for found in scanner.finditer(source.text):
        kind = str(found.lastgroup)
        if kind in IGNORED:
            continue
        text, (start, end) = found.group(), found.span()
        gap = source.text[position:start]
        tokens.append(Token(words.get(text, kind), text, Span(source, start, end), gap))
        position = end
        junk += kind in JUNK
        if junk > MOST_JUNK or len(tokens) > MOST_TOKENS:
            break
    length = len(source.text)
    tokens.append(Token("END", "", Span(source, length, length), source.text[position:]))
    return tuple(tokens)


def complete(tokens: tuple[Token, ...]) -> bool:
    """Whether the text was read to its end."""
    return len(tokens) <= MOST_TOKENS and sum(token.kind in JUNK for token in tokens) <= MOST_JUNK


def joined(tokens: tuple[Token, ...]) -> str:
    """The exact text that tokens came from."""
    return "".join(token.gap + token.text for token in tokens)
