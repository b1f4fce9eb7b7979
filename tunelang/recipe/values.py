"""Values: what stands right of `=` becomes what its field expects, or findings in its words."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tunelang.diagnostic import Diagnostic, error
from tunelang.recipe import schema
from tunelang.recipe.literals import Literal, read_literal, unquote
from tunelang.recipe.quantities import QUANTITIES
from tunelang.recipe.reading import BAD, READERS, Reading, not_a, parse_value, read, unknown_field
from tunelang.recipe.variants import default_values, variant_call
from tunelang.recipe.words import symbols, word
from tunelang.syntax.tree import Call, ListValue, Path, Scalar, Value

__all__ = ["BAD", "Reading", "default_values", "parse_value", "read", "unknown_field"]


def _either(value: Value, expected: schema.Either, reading: Reading) -> Any:
    if isinstance(value, Path) and _is_named(value, expected, reading):
        return word(value, expected, reading)
    return read(value, _fitting(value, expected), reading)


def _is_named(path: Path, expected: schema.Either, reading: Reading) -> bool:
    """Whether a word is a `let` or `param`, whose value may be of any of the types."""
    declared = reading.scope.look_up(path.text)
    known = any(path.text in symbols(kind) for kind in expected.types)
    return not known and declared is not None and declared[0].kind.text in ("let", "param")


def _fitting(value: Value, expected: schema.Either) -> schema.Type:
    """The alternative that the way of writing points at; the first where none does."""
    if isinstance(value, Scalar):
        literal = read_literal(value)
        dimension = literal.dimension if isinstance(literal, Literal) else ""
        return next((kind for kind in expected.types if _takes(kind, dimension)), expected.types[0])
    shapes: dict[type, tuple[type, ...]] = {
        ListValue: (schema.ListOf, schema.Rows),
        Call: (schema.Variant,),
        Path: (schema.Symbol, schema.Variant, schema.Reference),
    }
    fitting = [kind for kind in expected.types if isinstance(kind, shapes[type(value)])]
    if isinstance(value, Path):  # a word of one of them, else a name
        fitting.sort(key=lambda kind: value.text not in symbols(kind))
    return next(iter(fitting), expected.types[0])


def _takes(kind: schema.Type, dimension: str) -> bool:
    """Whether a literal of this dimension is meant for a type."""
    if isinstance(kind, schema.Count):
        return dimension in kind.nouns
    plain: dict[str, tuple[type, ...]] = {
        "ratio": (schema.Ratio,),
        "number": (schema.Number, schema.Whole, schema.Ratio),
        "text": (schema.Text,),
        "flag": (schema.Flag,),
    }
    return isinstance(kind, plain.get(dimension, ()))


def _scalar(value: Value, expected: schema.Type, reading: Reading) -> Any:
    """Numbers, quantities, text and booleans."""
    if not isinstance(value, Scalar):
        return reading.say(not_a(value, expected, reading))
    literal = read_literal(value)
    if literal is None:
        return BAD
    if isinstance(literal, Diagnostic):
        return reading.say(literal)
    result = QUANTITIES[type(expected)](literal, expected, value, reading.name)
    return reading.say(result) if isinstance(result, Diagnostic) else result


def _list(value: Value, expected: schema.ListOf, reading: Reading) -> Any:
    if not isinstance(value, ListValue):
        return reading.say(not_a(value, expected, reading))
    items = [read(item, expected.item, reading) for item in value.values]
    return BAD if any(item is BAD for item in items) else tuple(items)


def _rows(value: Value, expected: schema.Rows, reading: Reading) -> Any:
    if not isinstance(value, ListValue):
        return reading.say(not_a(value, expected, reading))
    rows = [_row(item, reading) for item in value.values]
    return BAD if any(row is BAD for row in rows) else tuple(rows)


def _row(value: Value, reading: Reading) -> Any:
    """`"text"` or `row(prompt = "...", reply = "...")`."""
    if isinstance(value, Scalar):
        text = _scalar(value, schema.Text(), reading)
        return text if text is BAD else {"text": text}
    if (
        not isinstance(value, Call)
        or value.path.text != "row"
        or not all(a.name for a in value.arguments)
    ):
        return reading.say(
            error(
                "TL201",
                "wrong-type",
                "a row of `inline` is a string or `row(column = value, ...)`",
                value.span,
                "not a row",
            )
        )
    return {a.name.text: _cell(a.value, reading) for a in value.arguments if a.name}


def _cell(value: Value, reading: Reading) -> Any:
    literal = read_literal(value) if isinstance(value, Scalar) else None
    if isinstance(literal, Literal):
        return literal.value
    return reading.say(literal) if literal else reading.say(not_a(value, schema.Text(), reading))


def _no_literal(value: Value, expected: schema.Type, reading: Reading) -> Any:
    """Symbols and references are words, never literals or lists."""
    problem = not_a(value, expected, reading)
    if isinstance(value, Scalar) and value.token.kind == "STRING":
        problem = replace(problem, help=f"names stand without quotes: {unquote(value.token.text)}")
    return reading.say(problem)


READERS.update(
    {
        **dict.fromkeys(QUANTITIES, _scalar),
        Path: word,
        schema.Either: _either,
        schema.Symbol: _no_literal,
        schema.Reference: _no_literal,
        schema.MetricOf: _no_literal,
        schema.ListOf: _list,
        schema.Rows: _rows,
        schema.Variant: variant_call,
    }
)
