"""Variants: `lora(rank = 16)` becomes a Choice with every field of its shape settled."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import takewhile
from pathlib import Path as FilePath
from typing import Any

from tunelang.diagnostic import Diagnostic, error, warning
from tunelang.diagnostic import replace as replace_text
from tunelang.recipe import schema
from tunelang.recipe.model import Choice, Given
from tunelang.recipe.names import Scope, did_you_mean, nearest
from tunelang.recipe.reading import BAD, Reading, listed, not_a, parse_value, read, unknown_field
from tunelang.source import Source, Span
from tunelang.syntax.tree import Call, File, Path, Value

# What early drafts of edition 1 called things.
RENAMED = {"jsonl": "files", "json": "files", "csv": "files", "parquet": "files"}
Arguments = tuple[tuple[str, Value, Span], ...]


def variant_call(value: Value, expected: schema.Variant, reading: Reading) -> Any:
    if not isinstance(value, Call):
        return reading.say(not_a(value, expected, reading))
    name = value.path.text
    if name in RENAMED and RENAMED[name] in expected.shapes:
        name = _renamed(value.path, reading)
    if name not in expected.shapes:
        guess = nearest(name, expected.shapes)
        fix = replace_text(value.path.span, guess, safe=False) if guess else None
        code = ("TL104", "unknown-method") if reading.name == "weights" else ("TL210", "not-one-of")
        return reading.say(
            error(
                *code,
                f"`{name}` is not something `{reading.name}` knows",
                value.path.span,
                "unknown",
                help=did_you_mean(guess) or f"it takes {listed(tuple(expected.shapes))}",
                fix=fix,
            )
        )
    arguments = []
    fields = list(expected.shapes[name])
    positional = _positional(expected.shapes[name])
    for index, argument in enumerate(value.arguments):
        if argument.name:
            arguments.append((argument.name.text, argument.value, argument.name.span))
        elif index < positional:
            arguments.append((fields[index], argument.value, argument.value.span))
        else:
            return reading.say(_unnamed(argument.value.span, name, fields, (index, positional)))
    return variant(name, tuple(arguments), expected, reading, value.span)


def _renamed(path: Path, reading: Reading) -> str:
    """TL119: the name of an earlier draft still works, with a warning."""
    new = RENAMED[path.text]
    reading.say(
        warning(
            "TL119",
            "deprecated-name",
            f"`{path.text}` is now called `{new}`",
            path.span,
            "renamed in edition 1",
            fix=replace_text(path.span, new, safe=True),
        )
    )
    return new


def _positional(shape: Mapping[str, schema.Field]) -> int:
    """How many arguments may go without a name: the required ones that come first, at least one."""
    required = list(
        takewhile(lambda each: each.default is None and not each.optional, shape.values())
    )
    return min(len(shape), max(1, len(required)))


def _unnamed(span: Span, name: str, fields: list[str], where: tuple[int, int]) -> Diagnostic:
    index, positional = where
    expects = f"write `{fields[index]} = {span.text}`" if index < len(fields) else "one too many"
    first = "the first value" if positional == 1 else f"the first {positional} values"
    return error(
        "TL201", "wrong-type", f"only {first} in `{name}(...)` may go without a name", span, expects
    )


def variant(
    name: str, arguments: Arguments, expected: schema.Variant, reading: Reading, span: Span
) -> Any:
    """A Choice with every field of its shape: given, else default."""
    shape = expected.shapes[name]
    written: dict[str, Given] = {}
    bad = False
    for key, value, place in arguments:
        given = _argument(name, key, value, (shape, place, written), reading)
        bad |= given is BAD
        if isinstance(given, Given):
            written[key] = given
    missing = [
        key for key, each in shape.items() if not (key in written or each.default or each.optional)
    ]
    if missing and not bad:
        reading.say(
            error(
                "TL501",
                "missing-input",
                f"`{name}(...)` needs {listed(missing)}",
                span,
                "incomplete",
                help=f"`{missing[0]}` is {shape[missing[0]].doc}",
            )
        )
    if bad or missing:
        return BAD
    return Choice(name, {**default_values(shape, f"default of {name}"), **written})


def _argument(
    name: str,
    key: str,
    value: Value,
    where: tuple[Mapping[str, schema.Field], Span, dict[str, Given]],
    reading: Reading,
) -> Any:
    shape, span, written = where
    if key not in shape:
        return reading.say(unknown_field(span, key, f"`{name}`", shape))
    if key in written:
        return reading.say(
            error(
                "TL106",
                "duplicate-field",
                f"`{key}` is given twice in `{name}(...)`",
                span,
                "again here",
            )
        )
    result = read(value, shape[key].type, reading.named(key))
    return BAD if result is BAD else Given(result, reading.name, value.span)


def default_values(fields: Mapping[str, schema.Field], origin: str) -> dict[str, Given]:
    """Every default of a set of fields, read by the same code as what people write, and once."""
    key = (id(fields), origin)
    if key not in _DEFAULTS:
        _DEFAULTS[key] = (fields, _read_defaults(fields, origin))
    return dict(_DEFAULTS[key][1])


# Fields are made once and never change; holding them here keeps their ids their own.
_DEFAULTS: dict[tuple[int, str], tuple[Mapping[str, schema.Field], dict[str, Given]]] = {}


def _read_defaults(fields: Mapping[str, schema.Field], origin: str) -> dict[str, Given]:
    scope = _EMPTY
    found: dict[str, Given] = {}
    for name, each in fields.items():
        if isinstance(each.type, schema.Group):
            inner = default_values(each.type.fields, origin)
            found |= {f"{name}.{key}": value for key, value in inner.items()}
        elif each.default is not None:
            tree = parse_value(each.default)
            assert tree is not None, f"default of {name}: {each.default}"
            problems: list[Diagnostic] = []
            result = read(tree, each.type, Reading(scope, problems, name))
            assert not problems, f"default of {name}: {each.default}: {problems}"
            found[name] = Given(result, origin)
    return found


_EMPTY = Scope(File(Source("default", ""), None, (), ()), FilePath())
