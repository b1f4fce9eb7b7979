"""A recipe as recipe text again, with every default written out and every origin beside it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tunelang.recipe.model import Choice, Declared, Given, Recipe, Ref, Word
from tunelang.units import Quantity, number

WIDTH = 48  # columns before an origin


def show(recipe: Recipe, *, origins: bool) -> str:
    """`.tune` text that means the same as the recipe under its profile."""
    blocks = ["tune 1\n"]
    if recipe.budget:
        inner = ", ".join(f"{key} = {literal(given.value)}" for key, given in recipe.budget.items())
        blocks.append(f"budget {{ {inner} }}\n")
    blocks += ["".join(_declaration(each, recipe, origins)) for each in recipe.declared.values()]
    return "\n".join(blocks)


def _declaration(declared: Declared, recipe: Recipe, origins: bool) -> Iterator[str]:
    for line in declared.doc.splitlines():
        yield f"## {line}".rstrip() + "\n"
    kind = f": {declared.method.name}" if declared.method else ""
    yield f"{declared.kind} {declared.name.replace('.', '_')}{kind} {{\n"
    for ref, share in declared.parts:
        yield _line(f"  {literal(ref)} = {number(share.value * 100)}%", share, recipe, origins)
    yield from _fields(declared, recipe, origins)
    if declared.checks:
        yield "  gate {\n"
        yield "".join(f"    {each.span.text}\n" for each in declared.checks)
        yield "" if declared.enforce else "    enforce = false\n"
        yield "  }\n"
    yield "}\n"


def _fields(declared: Declared, recipe: Recipe, origins: bool) -> Iterator[str]:
    group = ""
    heads = list(dict.fromkeys(path.rpartition(".")[0] for path in ["", *declared.values]))
    ordered = sorted(
        declared.values.items(), key=lambda item: heads.index(item[0].rpartition(".")[0])
    )
    for path, given in ordered:
        head, _, last = path.rpartition(".")
        if head != group:
            yield ("  }\n" if group else "") + (f"  {head} {{\n" if head else "")
            group = head
        indent = "    " if head else "  "
        yield _line(f"{indent}{last} = {literal(given.value)}", given, recipe, origins)
    yield "  }\n" if group else ""


def _line(text: str, given: Given, recipe: Recipe, origins: bool) -> str:
    if not origins:
        return f"{text}\n"
    return f"{text:<{WIDTH}}  # {_origin(given, recipe)}\n"


def _origin(given: Given, recipe: Recipe) -> str:
    if given.span is None:
        return given.origin
    line, _ = given.span.source.position(given.span.start)
    return f"{given.origin}, {given.span.source.name}:{line}"


def literal(value: Any) -> str:
    """A settled value as a recipe writes it."""
    match value:
        case bool():
            return "true" if value else "false"
        case Ref():
            return value.name.replace(".", "_") + (".hold_out" if value.hold_out else "")
        case Choice():
            inner = ", ".join(
                f"{key} = {literal(given.value)}" for key, given in value.values.items()
            )
            return f"{value.name}({inner})" if inner else value.name
        case Quantity():
            return str(value)
        case tuple():
            return f"[{', '.join(_row(item) for item in value)}]"
        case int() | float():
            return number(value)
        case _:
            return str(value) if isinstance(value, Word) else _quoted(value)


def _row(item: Any) -> str:
    if not isinstance(item, dict):
        return literal(item)
    return f"row({', '.join(f'{key} = {_quoted(str(each))}' for key, each in item.items())})"


def _quoted(text: str) -> str:
    escaped = (
        text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t")
    )
    return f'"{escaped}"'
