"""Mistakes: where one item stopped parsing, said in a person's words with code, help and fix."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from tunelang.diagnostic import Diagnostic, Edit, Fix, error, replace
from tunelang.source import Span
from tunelang.syntax.tree import Token

RESERVED = ("TUNE", "IMPORT", "AS", "EXTENDS", "TRUE", "FALSE")
WORDS = {
    "NAME": "a name", "EQ": "`=`", "LBRACE": "`{`", "RBRACE": "`}`", "LPAR": "`(`", "RPAR": "`)`",
    "LSQB": "`[`", "RSQB": "`]`", "COLON": "`:`", "DOT": "`.`", "STRING": "text in quotes", "CMP": "a comparison",
    "EXTENDS": "`extends`", "AS": "`as`", "NUMBER": "a number",
}  # fmt: skip
QUOTES = {"“": '"', "”": '"', "„": '"', "‘": "'", "’": "'"}
_SECONDS = {"s": 1, "min": 60, "h": 3600, "d": 86400}


@dataclass(frozen=True)
class Mistake:
    """The tokens of one item, the index of the one that does not fit, and what would have."""

    tokens: tuple[Token, ...]
    at: int
    accepts: frozenset[str]

    @property
    def bad(self) -> Token | None:
        """The token that does not fit; None where the item ended too early."""
        return self.tokens[self.at] if self.at < len(self.tokens) else None

    @property
    def before(self) -> Token | None:
        return self.tokens[self.at - 1] if self.at > 0 else None

    @property
    def after(self) -> Token | None:
        return self.tokens[self.at + 1] if self.at + 1 < len(self.tokens) else None


def explain(mistake: Mistake) -> Diagnostic:
    """The first explanation that fits."""
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
    return error("TL006", "missing-value", f"`{name}` has no value", _after(before), "a value is missing",
                 help="write one, or leave the line out to get the default")  # fmt: skip


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
    return error("TL009", "colon-for-equals", f"`{before.text}:` gives no value", bad.span, "write `=`",
                 help="`:` gives a declaration its type; `=` gives a field its value", fix=fix)  # fmt: skip


def _reserved(mistake: Mistake) -> Diagnostic | None:
    bad = mistake.bad
    if not (bad and bad.kind in RESERVED and ("NAME" in mistake.accepts or mistake.at == 0)):
        return None
    words = "tunelang import as extends true false"
    return error("TL010", "reserved-word", f"`{bad.text}` is a reserved word, not a name", bad.span, "reserved",
                 help=f"choose another name; reserved are {words.replace('tunelang', 'tune')}")  # fmt: skip


def _repeated_noun(mistake: Mistake) -> Diagnostic | None:
    """`2048 tokens tokens`."""
    bad, before = mistake.bad, mistake.before
    if not (bad and before and bad.kind == "NAME" and before.kind == "NAME" and mistake.at > 1):
        return None
    if mistake.tokens[mistake.at - 2].kind not in ("NUMBER", "MEASURE"):
        return None
    gap = Span(bad.span.source, before.span.end, bad.span.end)
    fix = Fix(f"delete the second {bad.text}", (Edit(gap, ""),), safe=bad.text == before.text)
    return error("TL011", "repeated-noun", f"`{before.text} {bad.text}` names the unit twice", bad.span, "once too often", fix=fix)


def _missing_comma(mistake: Mistake) -> Diagnostic | None:
    """Two arguments touch."""
    bad, before = mistake.bad, mistake.before
    if not (bad and before and "COMMA" in mistake.accepts and bad.kind in ("NAME", "STRING", "NUMBER", "MEASURE", "LSQB", "MONEY", "TRUE", "FALSE")):
        return None
    fix = Fix("add a comma", (Edit(Span(bad.span.source, before.span.end, before.span.end), ","),), safe=True)
    return error("TL007", "missing-comma", f"`{before.text}` and `{bad.text}` need a comma between them", bad.span,
                 "write `,` before this", fix=fix)  # fmt: skip


def _missing_equals(mistake: Mistake) -> Diagnostic | None:
    """`lr 1e-4`, `model base`."""
    bad, before = mistake.bad, mistake.before
    first = mistake.tokens[0]
    lone = bad is None and len(mistake.tokens) == 2 and first.kind == "NAME" and mistake.tokens[1].kind == "NAME"
    value = bad is not None and bad.kind in ("NUMBER", "MEASURE", "MONEY", "STRING", "TRUE", "FALSE", "LSQB")
    if not (lone or (value and before and before.kind == "NAME" and "EQ" in mistake.accepts)):
        return None
    name, follows = (first, mistake.tokens[1]) if lone else (before, bad)
    assert name and follows
    gap = Span(name.span.source, name.span.end, follows.span.start)
    fix = Fix("add `=`", (Edit(gap, " = "),), safe=not lone)
    return error("TL009", "colon-for-equals", f"`{name.text} {follows.text}` has no `=`", follows.span, "write `=` before this",
                 help=f"write `{name.text} = {follows.text}`", fix=fix)  # fmt: skip


def _string(mistake: Mistake) -> Diagnostic | None:
    bad = mistake.bad
    if not (bad and bad.kind == "BAD_STRING"):
        return None
    fix = Fix('add `"`', (Edit(Span(bad.span.source, bad.span.end, bad.span.end), '"'),), safe=False)
    return error("TL004", "unterminated-string", "this text has no closing quote", bad.span, "runs to the end of the line",
                 help='text of several lines stands in """', fix=fix)  # fmt: skip


def _number(mistake: Mistake) -> Diagnostic | None:
    bad = mistake.bad
    dotted = bad and bad.kind == "DOT" and mistake.after and mistake.after.kind in ("NUMBER", "MEASURE", "BAD_NUMBER")
    if not bad or not (bad.kind == "BAD_NUMBER" or dotted):
        return None
    span = bad.span.to(mistake.after.span) if dotted and mistake.after else bad.span
    fixed, safe, why = _mended(span.text)
    fix = replace(span, fixed, safe=safe) if fixed else None
    return error("TL003", "malformed-number", f"`{span.text}` is not a number", span, f"write `{fixed}`" if fixed else "malformed",
                 help=why, fix=fix)  # fmt: skip


def _mended(text: str) -> tuple[str, bool, str]:
    """What a malformed number most likely means, whether that is sure, and why it is wrong."""
    if re.fullmatch(r"-?\.[0-9]+.*", text):
        return text.replace(".", "0.", 1), True, "a number begins with a digit"
    if re.fullmatch(r"-?[0-9]+\.", text):
        return text[:-1], True, "a number ends with a digit"
    if re.fullmatch(r"-?0+[1-9][0-9]*", text):
        return re.sub(r"^(-?)0+", r"\1", text), True, "numbers have no leading zeros"
    if re.fullmatch(r"0[xX][0-9a-fA-F]+", text):
        return str(int(text, 16)), True, "numbers are decimal"
    parts = re.findall(r"([0-9]+)(d|h|min|s)", text)
    if len(parts) > 1 and "".join(a + b for a, b in parts) == text:
        seconds = sum(int(amount) * _SECONDS[unit] for amount, unit in parts)
        unit = next(unit for unit in ("h", "min", "s") if seconds % _SECONDS[unit] == 0)
        return f"{seconds // _SECONDS[unit]}{unit}", True, "a duration has one unit"
    return "", False, "numbers look like `16`, `1e-4`, `60%`, `2k`, `80GB` or `30min`"


def _stray(mistake: Mistake) -> Diagnostic | None:
    bad = mistake.bad
    if not (bad and bad.kind == "JUNK"):
        return None
    text = bad.text
    if text in QUOTES:
        fix = replace(bad.span, QUOTES[text], safe=True)
        return error("TL008", "stray-character", f"`{text}` is a typographic quote", bad.span, 'write `"`', fix=fix)
    name = text if text.isprintable() and not text.isspace() else f"U+{ord(text):04X}"
    becomes = " " if text.isspace() else ""
    fix = Fix(f"delete {name}", (Edit(bad.span, becomes),), safe=True)
    why = {";": "items end at the end of the line", "\ufeff": "save the file without a byte order mark"}
    return error("TL008", "stray-character", f"`{name}` means nothing in a recipe", bad.span, "stray", help=why.get(text, ""), fix=fix)


def _unexpected(mistake: Mistake) -> Diagnostic:
    expected = sorted({WORDS[kind] for kind in mistake.accepts if kind in WORDS})
    wants = f"expected {' or '.join(expected[:4])}" if expected else "does not fit here"
    if mistake.bad is None:
        last = mistake.tokens[-1]
        return error("TL006", "missing-value", f"`{last.text}` does not finish what it begins", last.span, wants)
    return error("TL008", "stray-character", f"`{mistake.bad.text}` does not fit here", mistake.bad.span, wants)


_ATTEMPTS: tuple[Callable[[Mistake], Diagnostic | None], ...] = (
    _string, _number, _stray, _missing_value, _reserved, _colon, _repeated_noun, _missing_equals, _missing_comma,
)  # fmt: skip
