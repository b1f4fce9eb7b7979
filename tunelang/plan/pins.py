"""What a recipe's names mean today, under all its profiles: the entries of its lock."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from os.path import normpath
from pathlib import Path

from tunelang.diagnostic import Diagnostic, has_errors
from tunelang.plan.data import data_part
from tunelang.plan.ir import FolderModel, GgufModel, ScratchModel
from tunelang.plan.models import Base, base_of
from tunelang.recipe import graph
from tunelang.recipe import lock as locks
from tunelang.recipe.load import load
from tunelang.recipe.model import Choice, Declared, Recipe
from tunelang.recipe.names import Scope
from tunelang.recipe.overrides import Settings
from tunelang.recipe.resolve import resolve_scope
from tunelang.source import Span
from tunelang.sources import chat_template, fingerprint, hub_cache

HUB = {"model": "models", "data": "datasets"}


@dataclass(frozen=True)
class Pin:
    """One entry of a lock: its section and key, its value today, and who names it where."""

    section: str
    key: str
    value: str
    name: str
    span: Span


@dataclass
class Pins:
    """The entries of a recipe, and what was found while looking for them."""

    scope: Scope | None
    found: list[Diagnostic]
    every: dict[tuple[str, str], Pin] = field(default_factory=dict)
    methods: dict[str, dict[str, object]] = field(default_factory=dict)
    notes: dict[str, None] = field(default_factory=dict)

    def lock(self) -> locks.Lock:
        """As it would be written."""
        assert self.scope is not None
        sections = {
            name: {key: pin.value for (section, key), pin in self.every.items() if section == name}
            for name in ("imports", "models", "data", "templates")
        }
        return locks.Lock(locks.hash_of(self.scope), **sections, methods=self.methods)


def pins_of(path: Path) -> Pins:
    """The entries of a recipe file under none and each of its profiles."""
    scope, found = load(path, trust=True)
    pins = Pins(scope, found)
    if scope is None or has_errors(found):
        return pins
    for place, item, inner in locks.imports(scope):
        _add(pins, Pin("imports", place, locks.hash_of(inner), item.alias.text, item.place.span))
    profiles = [d.name.text for d in scope.file.declarations() if d.kind.text == "profile"]
    for profile in (None, *profiles):
        resolved = resolve_scope(scope, [], Settings(profile))
        pins.found += [each for each in resolved.found if each not in pins.found]
        if resolved.recipe is not None and not has_errors(resolved.found):
            _of_recipe(resolved.recipe, pins)
    return pins


def _add(pins: Pins, pin: Pin) -> None:
    pins.every.setdefault((pin.section, pin.key), pin)


def _of_recipe(recipe: Recipe, pins: Pins) -> None:
    """What the stages need, under the recipe's profile."""
    pins.methods |= locks.methods(recipe)
    needed = dict.fromkeys(each for name in recipe.stages for each in graph.reachable(recipe, name))
    for name in needed:
        declared = recipe.declared[name]
        place = declared.get("from")
        if declared.kind in HUB and isinstance(place, Choice) and place.name == "hf":
            _hub(declared, place, recipe, pins)
        elif declared.kind == "model":
            _model(declared, place, recipe, pins)
        elif declared.kind == "data" and place.name == "files":
            _rows(declared, place, recipe, pins)
        elif declared.kind == "stage":
            _template(declared, recipe, pins)


def _hub(declared: Declared, place: Choice, recipe: Recipe, pins: Pins) -> None:
    """The commit of a revision, where the hub's cache knows it; else the revision, and a note."""
    kind, repository, revision = HUB[declared.kind], place.get("id"), place.get("revision")
    commit = hub_cache.commit(kind, repository, revision)  # type: ignore[arg-type]
    span = declared.span_of("from")
    section = "models" if declared.kind == "model" else "data"
    key = f"hf {repository}@{revision}"
    _add(pins, Pin(section, key, commit or revision, declared.name, span))
    if commit is None:
        at = span.place.rpartition(":")[0]
        said = f"{at}: `{revision}` of `{repository}` is locked as it is written; its full commit "
        pins.notes[f"{said}is not in the hub's cache on this machine"] = None
    folder = hub_cache.snapshot(kind, repository, revision)  # type: ignore[arg-type]
    if folder and declared.kind == "model":
        _own_template(key, folder, declared, pins)


def _model(declared: Declared, place: Choice, recipe: Recipe, pins: Pins) -> None:
    """The fingerprint of weights that lie on this machine."""
    base = base_of(declared, recipe, pins.found)
    mark = _mark(base)
    if base is None or mark is None:
        return
    key = f"{place.name} {', '.join(_places(declared, place, recipe))}"
    _add(pins, Pin("models", key, f"sha256:{mark}", declared.name, declared.span_of("from")))
    if isinstance(base.ref, FolderModel):
        _own_template(key, Path(base.ref.path), declared, pins)


def _mark(base: Base | None) -> str | None:
    if base is None:
        return None
    made = base.source or base.ref
    local = isinstance(made, FolderModel | GgufModel | ScratchModel)
    return made.fingerprint if local else None  # type: ignore[union-attr]


def _places(declared: Declared, place: Choice, recipe: Recipe) -> Iterator[str]:
    if place.name == "package":
        yield f"{place.get('package')}/{place.get('file')}"
        return
    for pattern in (place.get("glob"), *(place.get("tokenizer") or ())):
        if pattern:
            yield _relative(pattern, declared.span_of("from"), recipe)


def _relative(pattern: str, span: Span, recipe: Recipe) -> str:
    """A path as it is seen from the recipe's folder, also where an imported file names it."""
    if Path(pattern).is_absolute():
        return normpath(pattern)
    return locks.place_of(str(recipe.folder_of(span) / pattern), recipe.folder)


def _rows(declared: Declared, place: Choice, recipe: Recipe, pins: Pins) -> None:
    part = data_part(declared, recipe, pins.found)
    if part is None:
        return
    key = f"files {', '.join(_places(declared, place, recipe))}"
    value = f"sha256:{part.fingerprint}"
    _add(pins, Pin("data", key, value, declared.name, declared.span_of("from")))


def _template(stage: Declared, recipe: Recipe, pins: Pins) -> None:
    """A template in a file of its own; those with a name belong to the method's version."""
    wanted = stage.get("template")
    span = stage.span_of("template")
    path = recipe.folder_of(span) / wanted if wanted else None
    if path is not None and path.is_file():
        key = f"files {_relative(wanted, span, recipe)}"
        value = f"sha256:{fingerprint.of_file(path)}"
        _add(pins, Pin("templates", key, value, stage.name, span))


def _own_template(key: str, folder: Path, declared: Declared, pins: Pins) -> None:
    """The template that comes with a model, where its files are here."""
    text = chat_template.of_folder(folder)
    if text is not None:
        value = f"sha256:{fingerprint.of_text(text)}"
        _add(pins, Pin("templates", key, value, declared.name, declared.span_of("from")))
