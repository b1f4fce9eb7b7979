"""What rules walk over: the recipe that was settled, its stages, and the data sets of a stage."""

from __future__ import annotations

from collections.abc import Iterator

from tunelang.recipe.model import Choice, Declared, Recipe, Ref
from tunelang.recipe.resolve import Resolved

POLICIES = ("ppo", "grpo", "rloo")  # methods that learn from replies which they sample


def recipe_of(resolved: Resolved) -> Recipe:
    """The recipe; rules are asked only where there is one."""
    assert resolved.recipe is not None
    return resolved.recipe


def stages(resolved: Resolved, *methods: str) -> Iterator[tuple[Recipe, Declared]]:
    """Every stage, or those of some methods, with the recipe it stands in."""
    recipe = recipe_of(resolved)
    for stage in recipe.stages.values():
        if stage.method and (not methods or stage.method.name in methods):
            yield recipe, stage


def parts_of(recipe: Recipe, name: str) -> list[Declared]:
    """The sources behind a name: a data set or a stage that makes rows, or the parts of a mix."""
    declared = recipe.declared.get(name)
    if declared is None:
        return []
    if declared.kind in ("data", "stage"):
        return [declared]
    return [recipe.declared[ref.name] for ref, _ in declared.parts if ref.name in recipe.declared]


def format_of(source: Declared) -> str | None:
    """The format that is written for a data set, or that a stage makes; None where neither is."""
    if source.kind == "stage":
        return source.rows.format if source.rows else None
    form = source.get("format")
    return form.name if isinstance(form, Choice) else None


def data_of(stage: Declared, recipe: Recipe) -> list[Declared]:
    """The data sets that a stage trains on, replayed ones last, and stages whose rows it reads."""
    fields = (stage.method.data_field, "replay") if stage.method else ()
    refs = [ref for path in fields if (ref := stage.get(path))]
    return [part for ref in refs for part in parts_of(recipe, ref.name)]


def reference(stage: Declared, path: str) -> Ref | None:
    """What a field names; None where it holds something else, as a reward that is a function."""
    value = stage.get(path)
    return value if isinstance(value, Ref) else None
