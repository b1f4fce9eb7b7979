"""Layers: the written values of a declaration, from defaults up to `--set`, still untyped.

Blocks merge, values and lists replace. A value set anew drops what was set inside the old one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from dataclasses import replace as change

from tunelang.diagnostic import Diagnostic, Label, error
from tunelang.recipe.names import Scope
from tunelang.source import Span
from tunelang.syntax.tree import (
    Argument,
    Assignment,
    Block,
    Broken,
    Call,
    Check,
    Declaration,
    Item,
    Path,
    Token,
    Value,
)


@dataclass(frozen=True)
class Written:
    """A value as it stands in some file: its tree, its path's place, its layer and its scope."""

    value: Value
    span: Span
    origin: str
    scope: Scope
    optional_here: bool = False  # from `defaults` or `every`: skipped where the field is unknown


@dataclass(frozen=True)
class Layer:
    """One body flattened: values by path, the checks of its gate, and whether a part is broken."""

    values: dict[str, Written] = field(default_factory=dict)
    checks: tuple[tuple[Check, Scope], ...] = ()
    broken: bool = False


def flatten(items: tuple[Item, ...], origin: str, scope: Scope, found: list[Diagnostic]) -> Layer:
    """A body's values by dotted path; the second of two equal paths is TL106."""
    values: dict[str, Written] = {}
    checks: list[tuple[Check, Scope]] = []
    broken = False
    for path, item in _walk(items, ""):
        if isinstance(item, Assignment):
            _add(values, path, Written(item.value, item.path.span, origin, scope), found)
        elif isinstance(item, Check) and path == "gate.":
            checks.append((item, scope))
        elif isinstance(item, Broken):
            broken = True
        elif isinstance(item, Check):
            broken = True
            found.append(_misplaced(item.span, "a comparison stands in a `gate { ... }` block"))
        else:
            broken = True
            found.append(_misplaced(item.span, "declarations stand at the top of a file"))
    return Layer(values, tuple(checks), broken)


def _misplaced(span: Span, help: str) -> Diagnostic:
    return error(
        "TL201", "wrong-type", "this is not a field", span, "does not belong here", help=help
    )


def _walk(items: tuple[Item, ...], prefix: str) -> Iterator[tuple[str, Item]]:
    for item in items:
        if isinstance(item, Block):
            yield from _walk(item.items, f"{prefix}{item.name.text}.")
        elif isinstance(item, Assignment):
            yield prefix + item.path.text, item
        else:
            yield prefix, item


def _add(values: dict[str, Written], path: str, written: Written, found: list[Diagnostic]) -> None:
    if path in values:
        found.append(
            error(
                "TL106",
                "duplicate-field",
                f"`{path}` is set twice",
                written.span,
                "again here",
                others=(Label(values[path].span, "first here"),),
                help="keep one of the two",
            )
        )
        return
    values[path] = written


def stack(*layers: Layer) -> Layer:
    """Later layers win. The checks of the last layer that has any replace earlier ones."""
    values: dict[str, Written] = {}
    checks: tuple[tuple[Check, Scope], ...] = ()
    for layer in layers:
        for path, written in layer.values.items():
            for inner in [key for key in values if key.startswith(f"{path}.")]:
                del values[inner]
            values[path] = written
        checks = layer.checks or checks
    return Layer(values, checks, any(layer.broken for layer in layers))


def lift(declaration: Declaration, known: tuple[str, ...], scope: Scope, origin: str) -> Layer:
    """`data d = hf("x", format = chat)`: arguments that are the kind's fields become that."""
    value = declaration.value
    assert value is not None
    span = declaration.name.span
    if not isinstance(value, Call):
        return Layer({"from": Written(value, span, origin, scope)})
    kept = tuple(a for a in value.arguments if not (a.name and a.name.text in known))
    lifted = {
        a.name.text: Written(a.value, a.name.span, origin, scope)
        for a in value.arguments
        if a.name and a.name.text in known
    }
    return Layer(
        {"from": Written(change(value, arguments=kept), value.span, origin, scope), **lifted}
    )


def with_argument(value: Value, name: str, written: Written, order: tuple[str, ...] = ()) -> Value:
    """The variant `value` with one argument replaced: `weights.rank = 8` over `lora(rank = 4)`.

    `order` says which field an argument without a name sets: `lora(4)`.
    """
    token = Token("NAME", name, written.span)
    argument = Argument(token, written.value, written.value.span)
    if isinstance(value, Path):
        return Call(value, (argument,), value.span)
    if not isinstance(value, Call):
        return value
    named = [each.name.text if each.name else "" for each in value.arguments]
    named = [text or "".join(order[at : at + 1]) for at, text in enumerate(named)]
    if name not in named:
        return change(value, arguments=(*value.arguments, argument))
    arguments = [
        argument if own == name else each for own, each in zip(named, value.arguments, strict=True)
    ]
    return change(value, arguments=tuple(arguments))
