"""What a recipe asks for that is checked and planned, and that no worker of this version can do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tunelang.recipe import kinds
from tunelang.recipe.model import Choice, Declared, Given, Recipe
from tunelang.recipe.schema import ALL, Field
from tunelang.recipe.typed import flat
from tunelang.rules.stages import data_of


def asked(stage: Declared, recipe: Recipe) -> list[str]:
    """Each of them as the recipe writes it: fields of the stage and of its data, and gates."""
    assert stage.method is not None
    texts = [f"{path} = {text}" for path, text in _set(stage, stage.method.fields)]
    for part in data_of(stage, recipe):
        texts += [f"{part.name}.{path} = {text}" for path, text in _set(part, kinds.fields("data"))]
    return texts + [check.text for check in stage.checks if measured_elsewhere(check.on, recipe)]


def measured_elsewhere(on: Any, recipe: Recipe) -> bool:
    """Whether a gate is measured by a benchmark, which no worker runs yet."""
    declared = recipe.declared.get(on.name) if on else None
    return declared is not None and declared.kind == "benchmark"


def cleaning(stage: Declared, recipe: Recipe) -> dict[str, str]:
    """What is asked of the rows of a stage, for its key."""
    return {
        f"{part.name}.{path}": text
        for part in data_of(stage, recipe)
        for path, text in _set(part, kinds.fields("data"))
    }


def is_later(field: Field, given: Given | None) -> bool:
    """Whether a value is one of those that wait for a later version."""
    if given is None or given.is_default or given.value is None:
        return False
    return field.later == ALL or _word(given.value) in field.later


def _set(declared: Declared, fields: Mapping[str, Field]) -> Iterator[tuple[str, str]]:
    for path, field in flat(fields).items():
        given = declared.values.get(path)
        if field.later and given and is_later(field, given):
            yield path, given.span.text if given.span else _word(given.value)


def _word(value: Any) -> str:
    if isinstance(value, Choice):
        return value.name
    return str(value).lower() if isinstance(value, bool) else str(value)
