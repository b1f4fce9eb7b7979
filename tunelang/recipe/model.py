"""The recipe: what a file means once names, layers and types are settled. Frozen data only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product
from pathlib import Path
from random import Random
from typing import Any

from tunelang.recipe.schema import MadeRows, Method, Product
from tunelang.source import Source, Span
from tunelang.syntax.tree import Value


class Word(str):
    """A symbol of a field, as against text in quotes."""

    __slots__ = ()


@dataclass(frozen=True)
class Given:
    """A settled value, where it is written (None for a default) and which layer gave it."""

    value: Any
    origin: str
    span: Span | None = None

    @property
    def is_default(self) -> bool:
        return self.span is None


@dataclass(frozen=True)
class Choice:
    """A chosen variant: `qlora(rank = 16)`."""

    name: str
    values: Mapping[str, Given]

    def get(self, name: str) -> Any:
        given = self.values.get(name)
        return given.value if given else None


@dataclass(frozen=True)
class Ref:
    """A reference to a declaration by its full name (`alias.name` where imported)."""

    kind: str
    name: str
    hold_out: bool = False


@dataclass(frozen=True)
class Check:
    """One line of a gate: a metric, what it is measured on or against, and a bound."""

    text: str
    metric: str
    on: Ref | None
    arguments: Mapping[str, Ref]
    compare: str
    bound: float
    span: Span


@dataclass(frozen=True)
class Declared:
    """A declaration with its values flattened to paths (`kl.target`).

    `written` keeps the span of every path that a person wrote. Mixes have `parts`, stages a
    `method` and `checks`.
    """

    kind: str
    name: str
    span: Span
    values: Mapping[str, Given]
    doc: str = ""
    method: Method | None = None
    parts: tuple[tuple[Ref, Given], ...] = ()
    checks: tuple[Check, ...] = ()
    enforce: bool = True

    def get(self, path: str) -> Any:
        """The value at a path, None where it is optional and absent."""
        given = self.values.get(path)
        return given.value if given else None

    def span_of(self, path: str) -> Span:
        """Where the value is written, else the declaration's name."""
        given = self.values.get(path)
        return given.span if given and given.span else self.span

    @property
    def product(self) -> Product | None:
        """What a stage makes; None of all else."""
        if self.method is None:
            return None
        chosen = self.get(self.method.decides) if self.method.decides else None
        word = chosen.name if isinstance(chosen, Choice) else str(chosen)
        return self.method.products.get(word, self.method.product)

    @property
    def rows(self) -> MadeRows | None:
        """The rows that a stage makes; None of all else."""
        made = self.method.rows if self.method and self.product == "data" else None
        return made(self.get) if made else None

    def references(self) -> Iterator[tuple[str, Ref, Span]]:
        """Every declaration this one names, with the path and place of the reference."""
        for path, given in self.values.items():
            yield from _named(path, given, self.span)
        for part, share in self.parts:
            yield part.name, part, share.span or self.span
        for check in self.checks:
            for found in (check.on, *check.arguments.values()):
                if found:
                    yield check.text, found, check.span


def _named(path: str, given: Given, span: Span) -> Iterator[tuple[str, Ref, Span]]:
    """The reference that a value is, and those among the arguments of a variant."""
    place = given.span or span
    if isinstance(given.value, Ref):
        yield path, given.value, place
    elif isinstance(given.value, Choice):
        for name, inner in given.value.values.items():
            yield from _named(f"{path}.{name}", inner, place)


@dataclass(frozen=True)
class Axis:
    """A path that is varied and the values it takes, as they are written."""

    path: str
    span: Span
    values: tuple[Value, ...]


@dataclass(frozen=True)
class Sweep:
    name: str
    span: Span
    axes: tuple[Axis, ...]
    values: Mapping[str, Given]

    def points(self) -> list[dict[str, Value]]:
        """Every point as `{path: value}`: a product, rows of equally long lists, or drawn."""
        mode: Choice = self.values["mode"].value
        paths = [axis.path for axis in self.axes]
        lists = [axis.values for axis in self.axes]
        rows = list(zip(*lists, strict=False)) if mode.name == "list" else list(product(*lists))
        if mode.name == "random":
            drawn = min(int(mode.get("points")), len(rows))
            rows = Random(int(self.values["seed"].value)).sample(rows, drawn)
        return [dict(zip(paths, row, strict=True)) for row in rows]

    def get(self, path: str) -> Any:
        given = self.values.get(path)
        return given.value if given else None


@dataclass(frozen=True)
class Recipe:
    """Everything one file means under one profile. Declarations are keyed by full name."""

    source: Source
    folder: Path
    declared: Mapping[str, Declared]
    profile: str | None = None
    budget: Mapping[str, Given] = field(default_factory=dict)
    sweeps: Mapping[str, Sweep] = field(default_factory=dict)

    def folder_of(self, span: Span) -> Path:
        """Where relative paths written at a place start: the folder of that file."""
        outside = span.source.name.startswith(("--", "<")) or span.source.name == self.source.name
        return self.folder if outside else Path(span.source.name).parent

    def of_kind(self, *kinds: str) -> dict[str, Declared]:
        return {name: found for name, found in self.declared.items() if found.kind in kinds}

    @cached_property
    def stages(self) -> dict[str, Declared]:
        return self.of_kind("stage")
