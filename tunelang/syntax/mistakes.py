"""Mistakes: where one item stopped parsing, said in a person's words with code, help and fix."""

from __future__ import annotations

from collections.abc import Callable

from tunelang.diagnostic import Diagnostic, Edit, Fix, error
from tunelang.source import Span
from tunelang.syntax.headers import header
from tunelang.syntax.lexer import JUNK
from tunelang.syntax.lexical import Mistake, number, stray, string, twice
from tunelang.syntax.tree import Token

RESERVED = ("TUNE", "IMPORT", "AS", "EXTENDS", "TRUE", "FALSE")
WORDS = {
    "NAME": "a name",
    "EQ": "`=`",
    "LBRACE": "`{`",
    "RBRACE": "`}`",
    "LPAR": "`(`",
    "RPAR": "`)`",
    "LSQB": "`[`",
    "RSQB": "`]`",
    "COLON": "`:`",
    "DOT": "`.`",
    "STRING": "text in quotes",
    "CMP": "a comparison",
    "EXTENDS": "`extends`",
    "AS": "`as`",
    "NUMBER": "a number",
}


def explain(mistake: Mistake) -> Diagnostic:
    """The first explanation that fits."""
    junk = next(
        (i for i, each in enumerate(mistake.tokens[: mistake.at]) if each.kind in JUNK), None
    )
    if junk is not None:  # what came before is the likelier cause
        mistake = Mistake(mistake.tokens, junk, frozenset())
    for attempt in _ATTEMPTS:
        found = attempt(mistake)
        if found:
            return found
    return _unexpected(mistake)


def _missing_value(mistake: Mistake) -> Diagnostic | None:
    """`lr =`, `alpha = )`."""
    before, bad = mistake.before, mistake.bad
    ends = bad is None or bad.kind in ("RPAR", "RSQB", "COMMA", "RBRACE")
    if not (before and before.kind in ("EQ", "CMP") and ends):
        return None
    name = mistake.tokens[mistake.at - 2].text if mistake.at > 1 else before.text
    return error(
        "TL006",
        "missing-value",
        f"`{name}` has no value",
        _after(before),
        "a value is missing",
        help="write one, or leave the line out to get the default",
    )


def _after(token: Token) -> Span:
    """The place right behind a token."""
    end = token.span.end
    return Span(token.span.source, max(token.span.start, end - 1), end)


def _colon(mistake: Mistake) -> Diagnostic | None:
    """`lr: 1e-4`."""
    bad, before = mistake.bad, mistake.before
    if not (bad and before and bad.kind == "COLON" and before.kind == "NAME"):
        return None
    gap = Span(bad.span.source, before.span.end, bad.span.end)
    fix = Fix(": → =", (Edit(gap, " ="),), safe=True)
    return error(
        "TL009",
        "colon-for-equals",
        f"`{before.text}:` gives no value",
        bad.span,
        "write `=`",
        help="`:` gives a declaration its type; `=` gives a field its value",
        fix=fix,
    )


def _reserved(mistake: Mistake) -> Diagnostic | None:
    bad = mistake.bad
    if not (bad and bad.kind in RESERVED and ("NAME" in mistake.accepts or mistake.at == 0)):
        return None
    words = "tunelang import as extends true false"
    return error(
        "TL010",
        "reserved-word",
        f"`{bad.text}` is a reserved word, not a name",
        bad.span,
        "reserved",
        help=f"choose another name; reserved are {words.replace('tunelang', 'tune')}",
    )


def _repeated_noun(mistake: Mistake) -> Diagnostic | None:
    """`2048 tokens tokens`."""
    bad, before = mistake.bad, mistake.before
    if not (bad and before and bad.kind == "NAME" and before.kind == "NAME" and mistake.at > 1):
        return None
    if mistake.tokens[mistake.at - 2].kind not in ("NUMBER", "MEASURE"):
        return None
    if mistake.after and mistake.after.kind == "EQ":
        return None  # the next argument, and a comma is missing
    gap = Span(bad.span.source, before.span.end, bad.span.end)
    fix = Fix(f"delete the second {bad.text}", (Edit(gap, ""),), safe=bad.text == before.text)
    return error(
        "TL011",
        "repeated-noun",
        f"`{before.text} {bad.text}` names the unit twice",
        bad.span,
        "once too often",
        fix=fix,
    )


def _missing_comma(mistake: Mistake) -> Diagnostic | None:
    """Two arguments touch."""
    if _second_begins(mistake):  # `16 alpha = 32`, where `alpha` was read as a unit
        mistake = Mistake(mistake.tokens, mistake.at - 1, frozenset(("COMMA",)))
    bad, before = mistake.bad, mistake.before
    begins = bad and bad.kind == "NAME" and mistake.after and mistake.after.kind == "EQ"
    if not (
        bad
        and before
        and ("COMMA" in mistake.accepts or (begins and before.kind not in ("EQ", "DOT")))
        and bad.kind in ("NAME", "STRING", "NUMBER", "MEASURE", "LSQB", "MONEY", "TRUE", "FALSE")
    ):
        return None
    fix = Fix(
        "add a comma",
        (Edit(Span(bad.span.source, before.span.end, before.span.end), ","),),
        safe=True,
    )
    return error(
        "TL007",
        "missing-comma",
        f"`{before.text}` and `{bad.text}` need a comma between them",
        bad.span,
        "write `,` before this",
        fix=fix,
    )


def _second_begins(mistake: Mistake) -> bool:
    """`16 alpha =`: the name behind a number gets a value itself."""
    kinds = [token.kind for token in mistake.tokens[max(0, mistake.at - 2) : mistake.at + 1]]
    return len(kinds) == 3 and kinds[0] in ("NUMBER", "MEASURE") and kinds[1:] == ["NAME", "EQ"]


def _missing_equals(mistake: Mistake) -> Diagnostic | None:
    """`lr 1e-4`, `model base`."""
    bad, before = mistake.bad, mistake.before
    first = mistake.tokens[0]
    lone = (
        bad is None
        and len(mistake.tokens) == 2
        and first.kind == "NAME"
        and mistake.tokens[1].kind == "NAME"
    )
    value = bad is not None and bad.kind in (
        "NUMBER",
        "MEASURE",
        "MONEY",
        "STRING",
        "TRUE",
        "FALSE",
        "LSQB",
    )
    named = value and before and before.kind == "NAME" and "EQ" in mistake.accepts
    if not (lone or named or _argument(mistake)):
        return None
    name, follows = (first, mistake.tokens[1]) if lone else (before, bad)
    assert name and follows
    gap = Span(name.span.source, name.span.end, follows.span.start)
    fix = Fix("add `=`", (Edit(gap, " = "),), safe=not lone)
    return error(
        "TL009",
        "colon-for-equals",
        f"`{name.text} {follows.text}` has no `=`",
        follows.span,
        "write `=` before this",
        help=f"write `{name.text} = {follows.text}`",
        fix=fix,
    )


def _argument(mistake: Mistake) -> bool:
    """`format chat` among arguments that have names: a second word behind the first."""
    kinds = [token.kind for token in mistake.tokens[: mistake.at + 1]]
    inside = kinds.count("LPAR") > kinds.count("RPAR") and "LSQB" not in kinds
    ends = mistake.after is None or mistake.after.kind in ("COMMA", "RPAR")
    return inside and ends and kinds[-3:] in (["COMMA", "NAME", "NAME"], ["LPAR", "NAME", "NAME"])


def _unexpected(mistake: Mistake) -> Diagnostic:
    expected = sorted({WORDS[kind] for kind in mistake.accepts if kind in WORDS})
    wants = f"expected {' or '.join(expected[:4])}" if expected else "does not fit here"
    if mistake.bad is None:
        last = mistake.tokens[-1]
        return error(
            "TL006",
            "missing-value",
            f"`{last.text}` does not finish what it begins",
            last.span,
            wants,
        )
    return error(
        "TL008",
        "stray-character",
        f"`{mistake.bad.text}` does not fit here",
        mistake.bad.span,
        wants,
    )


_ATTEMPTS: tuple[Callable[[Mistake], Diagnostic | None], ...] = (
    string,
    number,
    stray,
    _missing_value,
    _reserved,
    _repeated_noun,
    twice,
    header,
    _colon,
    _missing_equals,
    _missing_comma,
)
