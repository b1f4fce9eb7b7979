"""The parts of a mix: every path that is no field names a data set and its share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from tunelang.recipe.layers import Layer
from tunelang.recipe.model import Given, Ref
from tunelang.recipe.schema import Field, Ratio, Reference
from tunelang.recipe.values import BAD, Reading, read
from tunelang.syntax.tree import Path, Token

Parts = tuple[tuple[Ref, Given], ...]


def read_mix(layer: Layer, known: Mapping[str, Field], reading: Reading) -> tuple[Parts, Layer]:
    """The parts with their shares, and the layer without them."""
    parts: list[tuple[Ref, Given]] = []
    rest = {}
    for path, written in layer.values.items():
        if path in known or path.split(".")[0] in known:
            rest[path] = written
            continue
        name = Path((Token("NAME", path, written.span),), written.span)
        source = Reference(("data", "stage"), ("data",))
        ref = read(name, source, replace(reading, scope=written.scope, name="mix"))
        share = read(written.value, Ratio(), replace(reading, scope=written.scope, name=path))
        if ref is not BAD and share is not BAD:
            parts.append((ref, Given(share, written.origin, written.value.span)))
    return tuple(parts), replace(layer, values=rest)
