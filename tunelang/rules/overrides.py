"""Rules on what profiles lay over a recipe (TL117)."""

from __future__ import annotations

from collections.abc import Iterator

from tunelang.diagnostic import Diagnostic, Edit, Fix, hint
from tunelang.recipe.model import Given, Recipe
from tunelang.recipe.names import Scope
from tunelang.recipe.overrides import Settings
from tunelang.recipe.resolve import Resolved, resolve_scope
from tunelang.source import Span
from tunelang.syntax.tree import Declaration, Item


def override_without_effect(resolved: Resolved) -> Iterator[Diagnostic]:
    """TL117: a line of a profile that changes nothing, for any declaration it reaches."""
    recipe, scope = resolved.recipe, resolved.scope
    assert recipe is not None and scope is not None
    profile = _profile(scope, recipe.profile)
    if profile is None:
        return
    parent = profile.extends.text if profile.extends else None
    below = resolve_scope(scope, [], Settings(profile=parent, point={})).recipe
    if below is None:
        return
    for item in _lines(profile.items or ()):
        reached = [
            (f"{name}.{path}", given, below.declared[name].values.get(path))
            for name, path, given in _given(recipe, item.span)
            if name in below.declared
        ]
        if reached and all(old and old.value == new.value for _, new, old in reached):
            yield _idle(item, reached[0][0])


def _profile(scope: Scope, name: str | None) -> Declaration | None:
    profiles = (d for d in scope.file.declarations() if d.kind.text == "profile")
    return next((each for each in profiles if each.name.text == name), None)


def _lines(items: tuple[Item, ...]) -> Iterator[Item]:
    """The lines that give values, in blocks and `every` too."""
    for item in items:
        inner = getattr(item, "items", None)
        if inner:
            yield from _lines(inner)
        else:
            yield item


def _given(recipe: Recipe, line: Span) -> Iterator[tuple[str, str, Given]]:
    """The values that a line of the profile gave."""
    for name, declared in recipe.declared.items():
        for path, given in declared.values.items():
            span = given.span
            inside = span and span.source == line.source and line.start <= span.start < line.end
            if inside and given.origin.startswith("profile"):
                yield name, path, given


def _idle(item: Item, path: str) -> Diagnostic:
    end = item.span.end
    text = item.span.source.text
    end += text[end : end + 1] == ","
    gap = Edit(Span(item.span.source, item.span.start, end), "")
    return hint(
        "TL117",
        "override-without-effect",
        f"`{path}` has this value without the profile too",
        item.span,
        "changes nothing",
        fix=Fix("delete it", (gap,), safe=True),
    )


RULES = (override_without_effect,)
