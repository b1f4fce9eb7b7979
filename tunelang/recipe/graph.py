"""The stage graph: edges are references. Roots, order and circles."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tunelang.recipe.model import Choice, Declared, Recipe, Ref


def needs(recipe: Recipe, stage: Declared) -> list[str]:
    """The stages that a stage refers to, in gates and in mixes too, in order of first mention."""
    names: list[str] = []
    for _, ref, _ in stage.references():
        mix = recipe.declared.get(ref.name) if ref.kind == "mix" else None
        parts = [part for part, _ in mix.parts] if mix else [ref]
        names += [part.name for part in parts if part.kind == "stage"]
    return [name for name in dict.fromkeys(names) if name in recipe.declared]


def reachable(recipe: Recipe, start: str) -> Iterator[str]:
    """Every declaration that `start` needs, itself first."""
    seen: set[str] = set()
    ahead = [start]
    while ahead:
        name = ahead.pop()
        if name in seen or name not in recipe.declared:
            continue
        seen.add(name)
        yield name
        ahead += [ref.name for _, ref, _ in recipe.declared[name].references()]


def circle(recipe: Recipe) -> list[str]:
    """A circle of stages, empty where there is none."""
    done: set[str] = set()

    def visit(name: str, path: list[str]) -> list[str]:
        if name in path:
            return [*path[path.index(name) :], name]
        if name in done:
            return []
        for other in needs(recipe, recipe.declared[name]):
            found = visit(other, [*path, name])
            if found:
                return found
        done.add(name)
        return []

    for name in recipe.stages:
        found = visit(name, [])
        if found:
            return found
    return []


def in_order(recipe: Recipe) -> list[Declared]:
    """Stages, each after those it needs, otherwise as written. There must be no circle."""
    ordered: dict[str, Declared] = {}

    def add(name: str) -> None:
        if name in ordered:
            return
        for other in needs(recipe, recipe.declared[name]):
            add(other)
        ordered[name] = recipe.declared[name]

    for name in recipe.stages:
        add(name)
    return list(ordered.values())


def start_of(stage: Declared) -> str | None:
    """The name of the declaration whose weights a stage starts from."""
    assert stage.method is not None
    ref = stage.get(stage.method.inputs[0])
    return ref.name if ref else None


def root_of(recipe: Recipe, name: str) -> str | None:
    """The model declaration with whole weights that a stage or model goes back to.

    None where the way is broken.
    """
    return _last(recipe, name, lambda declared: base_of(declared) or start_of(declared))


def tongue_of(recipe: Recipe, name: str) -> str | None:
    """The model declaration whose tokenizer a stage or model speaks: its root's, unless a stage
    on the way took another's (`tokenizer = ...`)."""

    def before(declared: Declared) -> str | None:
        other = declared.get("tokenizer") if declared.kind == "stage" else None
        return other.name if isinstance(other, Ref) else base_of(declared) or start_of(declared)

    return _last(recipe, name, before)


def _last(recipe: Recipe, name: str, before: Callable[[Declared], str | None]) -> str | None:
    """The model with nothing before it that a declaration goes back to."""
    seen: set[str] = set()
    while name in recipe.declared and name not in seen:
        seen.add(name)
        declared = recipe.declared[name]
        if declared.kind == "model" and not base_of(declared):
            return name
        name = before(declared) or ""
    return None


def base_of(model: Declared) -> str | None:
    """The model that an adapter lies over; None of all else."""
    place = model.get("from")
    base = place.get("base") if model.kind == "model" and isinstance(place, Choice) else None
    return base.name if isinstance(base, Ref) else None
