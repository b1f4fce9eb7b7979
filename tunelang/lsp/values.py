"""The values that fit a type: symbols, variants, names of the right kind, units."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tunelang.diagnostic import Diagnostic
from tunelang.lsp.inside import alternatives, method_of
from tunelang.lsp.words import unit, variant_docs
from tunelang.metrics import METRICS
from tunelang.recipe import kinds
from tunelang.recipe.names import Scope
from tunelang.recipe.schema import (
    Count,
    Flag,
    HowLong,
    ListOf,
    Measure,
    MetricOf,
    Ratio,
    Reference,
    Rows,
    Symbol,
    Text,
    Type,
    Variant,
)
from tunelang.recipe.values import BAD, Reading, read
from tunelang.syntax.tree import Declaration
from tunelang.units import BYTES, COUNTS, SECONDS


@dataclass(frozen=True)
class Candidate:
    """A word that fits. `insert` is written where it is more than the label."""

    label: str
    kind: str
    doc: str = ""
    insert: str = ""
    first: bool = False  # shown before others

    @property
    def text(self) -> str:
        return self.insert or self.label


def values(wanted: Type | None, scope: Scope, owner: str = "") -> Iterator[Candidate]:
    """What may be written where a type is expected, `owner` itself excepted."""
    for each in alternatives(wanted):
        yield from (found for found in _words(each, scope) if found.label != owner)
    for name, declared in scope.visible():
        if declared.kind.text not in ("let", "param") or name == owner or not declared.value:
            continue
        if wanted is None or _fits(name, wanted, scope):
            yield Candidate(name, "name", f"{declared.kind.text} = {declared.value.span.text}")


def _fits(name: str, wanted: Type, scope: Scope) -> bool:
    """Whether the value of a let or param is one that the type takes: it is read to see."""
    target = scope.look_up(name)
    if target is None or target[0].value is None:
        return False
    problems: list[Diagnostic] = []
    found = read(target[0].value, wanted, Reading(target[1], problems, name, {}, (name,)))
    return found is not BAD and not problems


def _words(wanted: Type, scope: Scope) -> Iterator[Candidate]:
    match wanted:
        case Symbol(words):
            yield from (Candidate(word, "symbol") for word in words)
        case Flag():
            yield from (Candidate(word, "symbol") for word in ("true", "false"))
        case Variant(shapes):
            yield from (_shape(name, bool(shape)) for name, shape in shapes.items())
        case Reference():
            yield from _names(wanted, scope)
        case MetricOf():
            yield from _metrics(scope)
        case Text():
            yield Candidate('""', "value", "text in quotes")
        case ListOf() | Rows():
            yield Candidate("[]", "value", "a list")


def _shape(name: str, fields: bool) -> Candidate:
    return Candidate(name, "variant", variant_docs().get(name, ""), f"{name}(" if fields else "")


def _names(wanted: Reference, scope: Scope) -> Iterator[Candidate]:
    """Declarations of the right kind; a stage must make the right product."""
    for name, declared in scope.visible():
        if declared.kind.text in wanted.kinds and _makes(declared, scope, wanted.products):
            yield Candidate(name, "name", declared.doc or declared.kind.text)


def _makes(declared: Declaration, scope: Scope, products: tuple[str, ...]) -> bool:
    if declared.kind.text == "model":
        return not products or "lm" in products
    method = kinds.methods().get(method_of(declared, scope))
    makes = {method.product, *method.products.values()} if method else set()
    return not products or method is None or bool(makes & set(products))


def _metrics(scope: Scope) -> Iterator[Candidate]:
    stages = [name for name, each in scope.visible() if each.kind.text == "stage"]
    for stage in stages:
        yield from (Candidate(f"{stage}.gate.{each}", "metric") for each in METRICS)


def units(wanted: Type | None) -> Iterator[tuple[str, str, bool]]:
    """Units of a type with their meaning, and whether they touch their number."""
    for each in alternatives(wanted):
        yield from ((word, unit(word), touches) for word, touches in _units(each))


def _units(wanted: Type) -> Iterator[tuple[str, bool]]:
    match wanted:
        case Count(nouns):
            yield from ((noun, False) for noun in nouns)
            yield from ((letters, True) for letters in COUNTS)
        case HowLong(spans):
            yield from ((name, False) for name in spans if name not in ("seconds", "ratio"))
            yield from ((name, True) for name in SECONDS if "seconds" in spans)
            yield from ((name, True) for name in ("%",) if "ratio" in spans)
        case Measure("bytes"):
            yield from ((name, True) for name in BYTES if name != "B")
        case Measure("seconds"):
            yield from ((name, True) for name in SECONDS)
        case Ratio():
            yield "%", True
