"""The kinds of declaration and their fields; methods, weights and sources are registered."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from tunelang import registry
from tunelang.recipe.schema import (
    Count,
    Either,
    Field,
    HowLong,
    Measure,
    Method,
    Number,
    Ratio,
    SourceKind,
    Symbol,
    Text,
    Variant,
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
    "profile",
)
WITH_FIELDS = ("model", "data", "mix", "hardware", "stage")
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


def _sources(gives: str) -> Variant:
    kinds: tuple[SourceKind, ...] = registry.parts("sources.places", "SOURCE")
    return Variant({kind.name: kind.fields for kind in kinds if gives in kind.gives})


@cache
def fields(kind: str) -> Mapping[str, Field]:
    """The fields of a kind; those of a stage are its method's."""
    return {"model": _model, "data": _data, "mix": _mix, "hardware": _hardware, "budget": _budget}[
        kind
    ]()


LICENCE = Field(Text(), "the licence its owner states", optional=True)
ROWS = Count(("rows",))


def _model() -> Mapping[str, Field]:
    return {"from": Field(_sources("model"), "where the weights come from"), "licence": LICENCE}


def _data() -> Mapping[str, Field]:
    (formats,) = registry.parts("sources.places", "FORMATS")
    return {
        "from": Field(_sources("data"), "where the rows come from"),
        "format": Field(
            Variant(formats), "what a row is; recognised where it is left out", optional=True
        ),
        "licence": LICENCE,
        "hold_out": Field(Either((Ratio(), ROWS)), "rows set aside to measure on", optional=True),
        "limit": Field(ROWS, "use the first rows only", optional=True),
        "rows": Field(
            ROWS, "how many rows there are, where they are not on this machine", optional=True
        ),
    }


def _mix() -> Mapping[str, Field]:
    strategies = {
        "fixed": {},
        "proportional": {
            "cap": Field(ROWS, "a source counts as at most this many rows", optional=True)
        },
        "temperature": {"temperature": Field(Number(least=1), "shares are taken to the power 1/T")},
    }
    return {
        "strategy": Field(Variant(strategies), "how shares are made", "fixed"),
        "repeat_at_most": Field(
            HowLong(("epochs",)), "passes over a source at the most", "4 epochs"
        ),
    }


def _hardware() -> Mapping[str, Field]:
    return {
        "gpu": Field(Text(), "name of the GPU in the catalogue; none means CPU", optional=True),
        "count": Field(Whole(), "how many of them", "1"),
        "memory": Field(Measure("bytes"), "memory of one device", optional=True),
        "cores": Field(Whole(), "CPU cores", optional=True),
        "price": Field(Measure("dollars/h"), "price of one device per hour", optional=True),
    }


def _budget() -> Mapping[str, Field]:
    return {
        "cost": Field(Measure("dollars"), "the most the recipe may cost", optional=True),
        "time": Field(Measure("seconds"), "the longest it may take", optional=True),
    }
