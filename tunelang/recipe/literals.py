"""Literals: the token of a scalar becomes a number with its dimension, or a diagnostic."""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import isinf
from typing import Any

from tunelang.diagnostic import Diagnostic, error, replace
from tunelang.recipe.names import did_you_mean, nearest
from tunelang.syntax.tree import Scalar
from tunelang.units import BYTES, COUNTS, NOUNS, SECONDS

_MEASURE = re.compile(r"(-?[0-9][0-9_]*(?:\.[0-9]+)?)(%|[A-Za-z]+)")
LONGEST = 40  # characters of a number; a float holds 17 digits
_SINGULAR = {noun[:-1]: noun for noun in NOUNS}
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", '"': '"', "\\": "\\"}


@dataclass(frozen=True)
class Literal:
    """`dimension` is number, ratio, bytes, seconds, dollars, dollars/h, text, flag or a noun.

    `round_k` remembers that the number was written with `k`, which means 1000.
    """

    dimension: str
    value: Any
    round_k: bool = False

    @property
    def is_number(self) -> bool:
        return self.dimension == "number"


def read_literal(scalar: Scalar) -> Literal | Diagnostic | None:
    """The literal; a diagnostic where its unit is unknown; None where syntax has spoken already."""
    kind, text = scalar.token.kind, scalar.token.text
    if kind in ("STRING", "TEXT"):
        return Literal("text", unquote(text))
    if kind in ("TRUE", "FALSE"):
        return Literal("flag", kind == "TRUE")
    if kind in ("MONEY", "NUMBER", "MEASURE") and _endless(text):
        return _too_large(scalar)
    if kind == "MONEY":
        rate = text.endswith("/h")
        amount = float(text.removesuffix("/h")[1:].replace("_", ""))
        return Literal("dollars/h" if rate else "dollars", amount)
    if kind == "NUMBER":
        return _with_noun(Literal("number", plain_number(text)), scalar)
    if kind == "MEASURE":
        return _measure(scalar)
    return None


def _endless(text: str) -> bool:
    """Digits that no number of a recipe has, or an exponent beyond what a float holds."""
    return len(text) > LONGEST or (
        "e" in text.lower() and _MEASURE.fullmatch(text) is None and isinf(plain_number(text))
    )


def _too_large(scalar: Scalar) -> Diagnostic:
    text = scalar.token.text
    shown = text if len(text) <= LONGEST else f"{text[:12]}..."
    message = f"`{shown}` is too large for a number"
    return error("TL206", "out-of-range", message, scalar.token.span, "too large")


def plain_number(text: str) -> int | float:
    text = text.replace("_", "")
    return int(text) if re.fullmatch(r"-?[0-9]+", text) else float(text)


def unquote(text: str) -> str:
    """The text of a STRING or TEXT token; TEXT loses its common indent and first newline."""
    if text.startswith('"""'):
        lines = text[3:-3].removeprefix("\n").split("\n")
        indents = [len(line) - len(line.lstrip()) for line in lines if line.strip()]
        return "\n".join(line[min(indents, default=0) :] for line in lines).rstrip(" ")
    return re.sub(r"\\(.)", lambda found: _ESCAPES.get(found[1], found[0]), text[1:-1])


def _measure(scalar: Scalar) -> Literal | Diagnostic:
    found = _MEASURE.fullmatch(scalar.token.text)
    if not found:
        return _unknown_unit(scalar, "")
    amount, unit = plain_number(found[1]), found[2]
    if unit == "%":
        return Literal("ratio", amount / 100)
    if unit in COUNTS:
        value = amount * COUNTS[unit]
        whole = int(value) if float(value).is_integer() else value
        return _with_noun(Literal("number", whole, round_k=unit == "k"), scalar)
    if unit in BYTES:
        return Literal("bytes", int(amount * BYTES[unit]))
    if unit in SECONDS:
        return Literal("seconds", amount * SECONDS[unit])
    return _unknown_unit(scalar, unit)


def _with_noun(literal: Literal, scalar: Scalar) -> Literal | Diagnostic:
    if scalar.noun is None:
        return literal
    noun = _SINGULAR.get(scalar.noun.text, scalar.noun.text)
    if noun in NOUNS:
        return Literal(noun, literal.value, literal.round_k)
    return _unknown_noun(scalar)


def _unknown_noun(scalar: Scalar) -> Diagnostic:
    """`3 epoches` or `80 gb`: a word after a number that is no noun."""
    assert scalar.noun is not None
    word = scalar.noun.text
    glued = _spelling(word)
    if glued:
        fixed = scalar.token.text + glued
        return error(
            "TL204",
            "unknown-unit",
            f"`{scalar.token.text} {word}` is not a quantity",
            scalar.span,
            f"write `{fixed}`",
            help="units of bytes and time touch their number",
            fix=replace(scalar.span, fixed, safe=True),
        )
    guess = nearest(word, [*NOUNS, *_SINGULAR])
    fix = replace(scalar.noun.span, guess, safe=True) if guess else None
    return error(
        "TL204",
        "unknown-unit",
        f"`{word}` is not something TuneLang counts",
        scalar.noun.span,
        "unknown unit",
        help=did_you_mean(guess) or f"it counts {', '.join(NOUNS)}",
        fix=fix,
    )


_LOOKS_LIKE = {
    "K": (("k", "Ki"), "`K` could be 1000 (`k`) or 1024 (`Ki`)"),
    "m": (("min", "M"), "`m` could be minutes (`min`) or millions (`M`)"),
    "G": (("GB", "GiB", "Gi"), "`G` could be bytes (`GB`, `GiB`) or a count (`Gi`)"),
    "g": (("GB", "GiB"), "bytes are written `GB` or `GiB`"),
}


def _spelling(word: str) -> str | None:
    """The unit that a misspelt one can only mean: `gb` is GB, `hours` is h."""
    units = {unit.lower(): unit for unit in (*BYTES, *SECONDS) if unit != "B"}
    long_forms = {
        "sec": "s",
        "secs": "s",
        "second": "s",
        "seconds": "s",
        "mins": "min",
        "minute": "min",
        "minutes": "min",
        "hr": "h",
        "hrs": "h",
        "hour": "h",
        "hours": "h",
        "day": "d",
        "days": "d",
    }
    return long_forms.get(word.lower()) or units.get(word.lower())


def _hexadecimal(scalar: Scalar) -> Diagnostic:
    """TL003 `0xFF`, which reads as a number with a unit; `0x10` is malformed for the lexer too."""
    text = scalar.token.text
    sound = re.fullmatch(r"0[xX][0-9a-fA-F]+", text)
    return error(
        "TL003",
        "malformed-number",
        f"`{text}` is not a number",
        scalar.token.span,
        "numbers are decimal",
        fix=replace(scalar.token.span, str(int(text, 16)), safe=True) if sound else None,
    )


def _unknown_unit(scalar: Scalar, unit: str) -> Diagnostic:
    """`80G`, `5m`, `2K`: letters after a number that are no unit."""
    text = scalar.token.text
    if text[:2] in ("0x", "0X"):
        return _hexadecimal(scalar)
    number = text.removesuffix(unit)
    glued = _spelling(unit)
    message = f"`{unit}` in `{text}` is not a unit"
    if glued:
        fix = replace(scalar.token.span, number + glued, safe=True)
        return error(
            "TL204",
            "unknown-unit",
            message,
            scalar.token.span,
            f"write `{number}{glued}`",
            help="units are spelt one way",
            fix=fix,
        )
    if unit in _LOOKS_LIKE:
        choices, why = _LOOKS_LIKE[unit]
        fix = replace(scalar.token.span, number + choices[0], safe=False)
        return error(
            "TL204", "unknown-unit", message, scalar.token.span, "which one?", help=why, fix=fix
        )
    noun = nearest(unit, [*NOUNS, *_SINGULAR])
    if noun:
        fix = replace(scalar.token.span, f"{number} {noun}", safe=True)
        return error(
            "TL204",
            "unknown-unit",
            message,
            scalar.token.span,
            f"write `{number} {noun}`",
            help="nouns stand after a space",
            fix=fix,
        )
    known = "k M B T Ki Mi Gi, GB GiB MB MiB, s min h d, %"
    return error(
        "TL204",
        "unknown-unit",
        message,
        scalar.token.span,
        "unknown unit",
        help=f"units that touch their number are {known}",
    )
