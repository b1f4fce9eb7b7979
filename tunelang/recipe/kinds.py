"""The kinds of declaration, the types of params and the methods that are installed."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from tunelang import registry
from tunelang.recipe import fields as of_kind
from tunelang.recipe.schema import (
    Count,
    Field,
    Measure,
    Method,
    Number,
    Ratio,
    Symbol,
    Text,
    WeightsKind,
    Whole,
)

# `every` stands in profiles only; `defaults` and `budget` have no name of their own.
KINDS = (
    "let",
    "param",
    "model",
    "data",
    "mix",
    "hardware",
    "budget",
    "defaults",
    "stage",
    "benchmark",
    "sweep",
    "profile",
    "publish",
)
WITH_FIELDS = ("model", "data", "mix", "hardware", "stage", "benchmark", "publish")
PARAM_TYPES: Mapping[str, Field] = {
    "int": Field(Whole(least=0), "a whole number"),
    "number": Field(Number(), "a number"),
    "ratio": Field(Ratio(), "a ratio"),
    "text": Field(Text(), "text"),
    "bool": Field(Symbol(("true", "false")), "true or false"),
    "tokens": Field(Count(("tokens",)), "tokens"),
    "time": Field(Measure("seconds"), "time"),
    "bytes": Field(Measure("bytes"), "bytes"),
}


@cache
def methods() -> dict[str, Method]:
    return {method.name: method for method in registry.parts("methods", "METHOD")}


@cache
def weights() -> dict[str, WeightsKind]:
    """Every kind of `weights` that is installed."""
    return {kind.name: kind for kind in registry.parts("weights", "WEIGHTS")}


@cache
def fields(kind: str) -> Mapping[str, Field]:
    """The fields of a kind; those of a stage are its method's."""
    return of_kind.BY_KIND[kind]()
