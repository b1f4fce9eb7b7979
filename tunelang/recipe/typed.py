"""Typing: a stack of written values meets the fields of its kind or method."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from tunelang.diagnostic import Diagnostic, error
from tunelang.recipe import schema
from tunelang.recipe.layers import Layer, Written, with_argument
from tunelang.recipe.model import Choice, Given
from tunelang.recipe.values import BAD, Reading, default_values, parse_value, read, unknown_field
from tunelang.source import Span
from tunelang.syntax.tree import Call, Value


@dataclass(frozen=True)
class Owner:
    """Whose fields are read: its fields, its name for messages, and the origin of defaults."""

    fields: Mapping[str, schema.Field]
    text: str
    defaults: str
    span: Span


def flat(fields: Mapping[str, schema.Field]) -> dict[str, schema.Field]:
    """Fields by dotted path, groups opened."""
    found: dict[str, schema.Field] = {}
    for name, each in fields.items():
        if isinstance(each.type, schema.Group):
            found |= {f"{name}.{key}": inner for key, inner in each.type.fields.items()}
        else:
            found[name] = each
    return found


def typed(layer: Layer, owner: Owner, reading: Reading) -> dict[str, Given]:
    """The settled values of a declaration: written ones, then defaults; missing ones are TL501."""
    known = flat(owner.fields)
    values = default_values(owner.fields, owner.defaults)
    bad: set[str] = set()
    for path, written in _folded(layer.values, known, owner, reading.found).items():
        result = _read(path, written, known[path], reading)
        if result is BAD:
            bad.add(path)
        else:
            values[path] = Given(result, written.origin, written.value.span)
    if not layer.broken:  # what is missing may stand in what was not read
        _missing(known, values, bad | _guessed(layer, reading.found), (owner, reading.found))
    return values


def chosen(layer: Layer, method: schema.Method, reading: Reading) -> str | None:
    """The mode a layer chooses of a method that has modes; what is wrong with it is said later."""
    written = layer.values.get(method.decides) if method.modes else None
    if written is None:
        return None
    found = _read(
        method.decides, written, method.fields[method.decides], replace(reading, found=[])
    )
    return found.name if isinstance(found, Choice) and found.name in method.modes else None


def _guessed(layer: Layer, found: list[Diagnostic]) -> set[str]:
    """Fields that stand there misspelt, which has been said."""
    spans = {written.span for written in layer.values.values()}
    fixes = [each.fix for each in found if each.code == "TL102" and each.fix]
    return {edit.text for fix in fixes for edit in fix.edits if edit.span in spans}


def _read(path: str, written: Written, expected: schema.Field, reading: Reading) -> Any:
    here = reading.named(path.rsplit(".", 1)[-1], written.scope)
    return read(written.value, expected.type, here)


def _folded(
    values: Mapping[str, Written],
    known: Mapping[str, schema.Field],
    owner: Owner,
    found: list[Diagnostic],
) -> dict[str, Written]:
    """Paths into a variant (`weights.rank`) become arguments of it; unknown ones are TL102."""
    folded: dict[str, Written] = {}
    for path, written in values.items():
        head, _, inner = path.rpartition(".")
        if path in known:
            folded[path] = written
        elif head in known and isinstance(known[head].type, schema.Variant):
            base = folded.get(head)
            tree = base.value if base else _default_tree(known[head])
            if tree is None:
                found.append(unknown_field(written.span, path, owner.text, known))
                continue
            value: Value = with_argument(tree, inner, written, _order(tree, known[head].type))
            folded[head] = replace(base or written, value=value)
        elif not written.optional_here:
            found.append(_unknown(path, written, owner, known))
    return folded


def _order(value: Value, expected: schema.Type) -> tuple[str, ...]:
    """The fields of the variant that is chosen, in the order of arguments without a name."""
    if not isinstance(expected, schema.Variant) or not isinstance(value, Call):
        return ()
    return tuple(expected.shapes.get(value.path.text, ()))


def _default_tree(each: schema.Field) -> Value | None:
    return parse_value(each.default) if each.default else None


def _unknown(
    path: str, written: Written, owner: Owner, known: Mapping[str, schema.Field]
) -> Diagnostic:
    groups = [name for name, each in owner.fields.items() if isinstance(each.type, schema.Group)]
    if path in groups:
        return error(
            "TL201",
            "wrong-type",
            f"`{path}` is a block of fields, not a value",
            written.span,
            f"write `{path} {{ ... }}`",
        )
    head, _, last = path.rpartition(".")
    if head in groups:
        inner = owner.fields[head].type
        assert isinstance(inner, schema.Group)
        span = Span(written.span.source, written.span.end - len(last), written.span.end)
        return unknown_field(span, last, f"`{head}`", inner.fields)
    return unknown_field(written.span, path, owner.text, {**known, **dict.fromkeys(groups)})


def _missing(
    known: Mapping[str, schema.Field],
    values: Mapping[str, Given],
    bad: set[str],
    where: tuple[Owner, list[Diagnostic]],
) -> None:
    owner, found = where
    for path, each in known.items():
        if path in values or path in bad or each.optional:
            continue
        found.append(
            error(
                "TL501",
                "missing-input",
                f"{owner.text} needs `{path}`",
                owner.span,
                f"has no `{path}`",
                help=f"`{path}` is {each.doc}",
            )
        )
