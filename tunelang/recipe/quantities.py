"""Literals meet the type a field expects: numbers, counts, durations, bytes, money, text."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from tunelang.diagnostic import Diagnostic, Fix, error, replace
from tunelang.recipe import schema
from tunelang.recipe.literals import Literal
from tunelang.syntax.tree import Scalar
from tunelang.units import Quantity, number

WORDS = {
    "seconds": "time",
    "bytes": "bytes",
    "dollars": "money",
    "dollars/h": "a price per hour",
    "ratio": "a ratio",
    "text": "text",
    "flag": "a boolean",
    "number": "a number",
}
EXAMPLES = {"bytes": "80GB", "seconds": "6h", "dollars": "$20", "dollars/h": "$2.49/h"}


def describe(expected: schema.Type) -> str:
    """What a field takes, in words for messages."""
    match expected:
        case schema.Whole():
            return "a whole number"
        case schema.Number():
            return "a number"
        case schema.Ratio():
            return "a ratio such as `60%`"
        case schema.Count(nouns):
            return " or ".join(nouns)
        case schema.HowLong(units):
            return _or([WORDS.get(unit, unit) for unit in units])
        case schema.Measure(unit):
            return f"{WORDS[unit]} such as `{EXAMPLES[unit]}`"
        case schema.Symbol(words):
            return f"one of {', '.join(words)}"
        case schema.Variant(shapes):
            return f"one of {', '.join(shapes)}"
        case schema.Reference(kinds):
            return f"the name of a {_or(list(kinds))}"
        case schema.ListOf() | schema.Rows():
            return "a list"
        case schema.Flag():
            return "`true` or `false`"
        case schema.Either(types):
            return _or([describe(each) for each in types])
        case _:
            return "text in quotes"


def _or(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"


Result = Any


def _wrong(literal: Literal, expected: schema.Type, scalar: Scalar, name: str) -> Diagnostic:
    """TL207, TL201 or TL202: a literal of another kind than the field's."""
    wants = describe(expected)
    inner = scalar.span.text[1:-1]
    if literal.dimension == "text" and re.fullmatch(
        r"-?[0-9][0-9_.]*([eE][+-]?[0-9]+)?[ %A-Za-z]*", inner
    ):
        return error(
            "TL207",
            "number-in-string",
            f"`{name}` is a number, and {scalar.span.text} is text",
            scalar.span,
            "text",
            help="leave the quotes out",
            fix=replace(scalar.span, inner, safe=True),
        )
    if literal.dimension in ("text", "flag", "number") or isinstance(
        expected, schema.Text | schema.Flag
    ):
        return error(
            "TL201",
            "wrong-type",
            f"`{name}` takes {wants}, not {_kind(literal)}",
            scalar.span,
            f"expected {wants}",
        )
    return error(
        "TL202",
        "wrong-dimension",
        f"`{name}` takes {wants}, and `{scalar.span.text}` is {_kind(literal)}",
        scalar.span,
        f"expected {wants}",
    )


def _kind(literal: Literal) -> str:
    return WORDS.get(literal.dimension, f"a number of {literal.dimension}")


def _out_of_range(scalar: Scalar, name: str, bounds: str, help: str = "") -> Diagnostic:
    message = f"`{name}` must be {bounds}"
    return error("TL206", "out-of-range", message, scalar.span, "out of range", help=help)


def _whole(literal: Literal, expected: schema.Whole, scalar: Scalar, name: str) -> Result:
    if not literal.is_number:
        return _wrong(literal, expected, scalar, name)
    value = literal.value
    if float(value) != int(value):
        return error(
            "TL209",
            "fraction-where-whole",
            f"`{name}` must be whole, and `{scalar.span.text}` is not",
            scalar.span,
            "not a whole number",
        )
    if value < expected.least or (expected.most is not None and value > expected.most):
        most = f" and at most {expected.most:,}" if expected.most is not None else ""
        return _out_of_range(scalar, name, f"at least {expected.least:,}{most}")
    return int(value)


def _number(literal: Literal, expected: schema.Number, scalar: Scalar, name: str) -> Result:
    if literal.dimension == "ratio":
        literal = Literal("number", literal.value)
    if not literal.is_number:
        return _wrong(literal, expected, scalar, name)
    value = float(literal.value)
    low = (expected.least is not None and value < expected.least) or (
        expected.above is not None and value <= expected.above
    )
    if low or (expected.most is not None and value > expected.most):
        bounds = [
            f"above {number(expected.above)}" if expected.above is not None else "",
            f"at least {number(expected.least)}" if expected.least is not None else "",
            f"at most {number(expected.most)}" if expected.most is not None else "",
        ]
        return _out_of_range(scalar, name, " and ".join(filter(None, bounds)))
    return value


def _ratio(literal: Literal, expected: schema.Ratio, scalar: Scalar, name: str) -> Result:
    if literal.dimension not in ("ratio", "number"):
        return _wrong(literal, expected, scalar, name)
    value = float(literal.value)
    if literal.is_number and value > 1:
        text = number(value)
        help = f"`{text}%` is {text} in a hundred"
        return _out_of_range(scalar, name, "between 0% and 100%", help)
    if not 0 <= value <= expected.most:
        return _out_of_range(scalar, name, f"between 0% and {expected.most:.0%}")
    return value


def _count(literal: Literal, expected: schema.Count, scalar: Scalar, name: str) -> Result:
    if literal.is_number:
        return _missing_unit(literal, expected.nouns, scalar, name)
    if literal.dimension not in expected.nouns:
        return _wrong(literal, expected, scalar, name)
    if literal.value < expected.least:
        return _out_of_range(scalar, name, f"at least {expected.least}")
    return _counted(literal, scalar, name)


def _counted(literal: Literal, scalar: Scalar, name: str) -> Result:
    """A quantity of a noun: whole and not negative; epochs may be a fraction."""
    amount = float(literal.value)
    if amount < 0:
        return _out_of_range(scalar, name, "0 or more")
    if literal.dimension != "epochs" and not amount.is_integer():
        return error(
            "TL209",
            "fraction-where-whole",
            f"`{scalar.span.text}` is not a whole number of {literal.dimension}",
            scalar.span,
            "not whole",
        )
    return Quantity(int(amount) if amount.is_integer() else amount, literal.dimension)


def _missing_unit(
    literal: Literal, units: tuple[str, ...], scalar: Scalar, name: str
) -> Diagnostic:
    """TL203, never guessed."""
    words = _or([WORDS.get(unit, unit) for unit in units])
    nouns = [unit for unit in units if unit not in WORDS]
    noun = nouns[0] if nouns else units[0]
    amount = scalar.span.text
    fixed = f"{amount} {noun[:-1] if amount == '1' else noun}"
    return error(
        "TL203",
        "missing-unit",
        f"`{name} = {amount}` does not say {amount} of what",
        scalar.span,
        f"{words}?",
        help=f"write `{fixed}`, for one",
        fix=replace(scalar.span, fixed, safe=False),
    )


def _how_long(literal: Literal, expected: schema.HowLong, scalar: Scalar, name: str) -> Result:
    if literal.is_number:
        return _missing_unit(literal, expected.units, scalar, name)
    if literal.dimension not in expected.units:
        return _wrong(literal, expected, scalar, name)
    if literal.value == 0 and not expected.none:
        return _out_of_range(scalar, name, "more than 0")
    if literal.dimension == "ratio":
        value = _ratio(literal, schema.Ratio(), scalar, name)
        return value if isinstance(value, Diagnostic) else Quantity(value, "ratio")
    return (
        _counted(literal, scalar, name)
        if literal.dimension != "seconds"
        else _measured(literal, scalar, name)
    )


def _with_unit(scalar: Scalar, expected: schema.Measure) -> Fix | None:
    """The number in the unit that the field's example has."""
    if scalar.token.kind != "NUMBER" or not re.fullmatch(r"[0-9_.]+", scalar.token.text):
        return None
    unit = re.sub(r"[0-9.]+", scalar.token.text, EXAMPLES[expected.unit])
    return replace(scalar.span, unit, safe=False)


def _measure(literal: Literal, expected: schema.Measure, scalar: Scalar, name: str) -> Result:
    if literal.is_number:
        example = EXAMPLES[expected.unit]
        return error(
            "TL203",
            "missing-unit",
            f"`{name} = {scalar.span.text}` does not say of what",
            scalar.span,
            f"{WORDS[expected.unit]}?",
            help=f"write it like `{example}`",
            fix=_with_unit(scalar, expected),
        )
    if literal.dimension != expected.unit:
        return _wrong(literal, expected, scalar, name)
    return _measured(literal, scalar, name)


def _measured(literal: Literal, scalar: Scalar, name: str) -> Result:
    if literal.value < 0:
        return _out_of_range(scalar, name, "0 or more")
    return Quantity(literal.value, literal.dimension)


def _text(literal: Literal, expected: schema.Text, scalar: Scalar, name: str) -> Result:
    return literal.value if literal.dimension == "text" else _wrong(literal, expected, scalar, name)


def _flag(literal: Literal, expected: schema.Flag, scalar: Scalar, name: str) -> Result:
    return literal.value if literal.dimension == "flag" else _wrong(literal, expected, scalar, name)


QUANTITIES: dict[type, Callable[[Literal, Any, Scalar, str], Result]] = {
    schema.Whole: _whole,
    schema.Number: _number,
    schema.Ratio: _ratio,
    schema.Count: _count,
    schema.HowLong: _how_long,
    schema.Measure: _measure,
    schema.Text: _text,
    schema.Flag: _flag,
}
