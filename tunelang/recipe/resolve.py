"""Resolution: a file's tree becomes a Recipe. The order of names, layers, types and graph."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path as FilePath

from tunelang.diagnostic import Diagnostic, error
from tunelang.recipe import kinds
from tunelang.recipe.layers import flatten
from tunelang.recipe.load import load
from tunelang.recipe.model import Declared, Given, Recipe, Sweep
from tunelang.recipe.names import Scope
from tunelang.recipe.overrides import Settings, check_profiles, collect
from tunelang.recipe.settle import Work, settle
from tunelang.recipe.sweeps import read_sweeps
from tunelang.recipe.toplevel import check_value, known_block, known_kind, unknown_defaults
from tunelang.recipe.typed import Owner, typed
from tunelang.syntax.tree import Block, Broken, Declaration, Import


@dataclass(frozen=True)
class Resolved:
    """A recipe (as far as it is sound), its findings, and the names of every let and param read."""

    recipe: Recipe | None
    found: list[Diagnostic]
    scope: Scope | None = None
    used: set[str] = field(default_factory=set)


def resolve(path: FilePath, settings: Settings | None = None) -> Resolved:
    """Read a recipe file and settle it under one profile."""
    scope, found = load(path)
    if scope is None:
        return Resolved(None, found)
    return resolve_scope(scope, found, settings or Settings())


def resolve_scope(scope: Scope, found: list[Diagnostic], settings: Settings) -> Resolved:
    check_profiles(scope, found)
    work = Work(found, collect(scope, settings, found), set())
    declared: dict[str, Declared] = {}
    for each in scope.all_scopes():
        declared |= _declarations(each, work)
    unknown_defaults(scope, work)
    sweeps = {} if settings.point is not None else read_sweeps(scope, work)
    recipe = Recipe(
        scope.file.source, scope.folder, declared, settings.profile, _budget(scope, work), sweeps
    )
    for sweep in sweeps.values():
        found += _wrong_points(scope, settings, sweep, list(found))
    return Resolved(recipe, _once(found), scope, work.used)


def _wrong_points(
    scope: Scope, settings: Settings, sweep: Sweep, known: list[Diagnostic]
) -> list[Diagnostic]:
    """What is wrong with the values of an axis, found by settling the recipe with each."""
    wrong = []
    for axis in sweep.axes:
        for value in axis.values:
            found: list[Diagnostic] = []
            resolve_scope(scope, found, replace(settings, point={axis.path: value}))
            wrong += [each for each in found if each not in known]
    return wrong


def _once(found: list[Diagnostic]) -> list[Diagnostic]:
    """Each finding once, however many layers or profiles led to it."""
    return list(dict.fromkeys(found))


def _declarations(scope: Scope, work: Work) -> dict[str, Declared]:
    declared: dict[str, Declared] = {}
    echo = False  # what follows a broken header, or another item outside, has the same cause
    for item in scope.file.items:
        if isinstance(item, Declaration):
            known_kind(item, work)
        elif isinstance(item, Block):
            known_block(item, work)
        elif not (echo or isinstance(item, Broken | Import)):
            work.found.append(
                error(
                    "TL201",
                    "wrong-type",
                    "this stands outside any declaration",
                    item.span,
                    "does not belong here",
                    help="`let NAME = VALUE` names a value",
                )
            )
        echo = not isinstance(item, Declaration | Block | Import)
    for name, declaration in scope.names.items():
        if declaration.kind.text in kinds.WITH_FIELDS:
            settled = settle(declaration, scope, work)
            if settled:
                declared[scope.full(name)] = settled
        elif declaration.kind.text in ("let", "param"):
            check_value(declaration, scope, work)
    return declared


def _budget(scope: Scope, work: Work) -> dict[str, Given]:
    for item in scope.file.items:
        if isinstance(item, Block) and item.name.text == "budget":
            layer = flatten(item.items, "budget", scope, work.found)
            owner = Owner(kinds.fields("budget"), "`budget`", "", item.name.span)
            return typed(layer, owner, work.reading(scope))
    return {}
