"""What a recipe gives away: its public releases, and everything that went into one."""

from __future__ import annotations

from collections.abc import Iterator

from tunelang.recipe.model import Choice, Declared, Recipe, Ref

MEASURED_ON = ("eval",)  # fields whose rows are looked at and never trained


def public(recipe: Recipe) -> list[Declared]:
    """The releases that anybody can see."""
    return [each for each in recipe.of_kind("publish").values() if _is_public(each)]


def _is_public(publish: Declared) -> bool:
    to = publish.get("to")
    return isinstance(to, Choice) and to.name == "hf" and not to.get("private")


def inputs(recipe: Recipe, publish: Declared) -> Iterator[Declared]:
    """Every stage, model and data set whose weights or rows are in a release, nearest first."""
    seen: set[str] = set()
    ahead = [publish]
    while ahead:
        declared = ahead.pop(0)
        for name in _names(declared):
            if name in recipe.declared and name not in seen:
                seen.add(name)
                ahead.append(recipe.declared[name])
                yield recipe.declared[name]


def _names(declared: Declared) -> Iterator[str]:
    for path, given in declared.values.items():
        if isinstance(given.value, Ref) and path not in MEASURED_ON:
            yield given.value.name
    for part, _ in declared.parts:
        yield part.name
