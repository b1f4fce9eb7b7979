"""The lock of a recipe, `NAME.lock` beside it: what its names meant when it was locked.

TOML with sorted keys. Imports, rows and weights stand as hashes, revisions as commits, and each
method with its version and defaults.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from os.path import normpath, relpath
from pathlib import Path
from typing import Any

from tunelang.recipe.model import Recipe
from tunelang.recipe.names import Scope
from tunelang.recipe.schema import Method
from tunelang.recipe.show import literal
from tunelang.recipe.typed import flat
from tunelang.recipe.values import default_values
from tunelang.syntax.digest import digest
from tunelang.syntax.tree import Import

VERSION = 1  # of the layout of the file


class Unreadable(ValueError):
    """A file that is no lock of this version; the text says why."""


@dataclass(frozen=True)
class Lock:
    """Everything a lock holds. Keys are what the recipe names, values what that is."""

    recipe: str
    imports: Mapping[str, str] = field(default_factory=dict)
    models: Mapping[str, str] = field(default_factory=dict)
    data: Mapping[str, str] = field(default_factory=dict)
    templates: Mapping[str, str] = field(default_factory=dict)
    methods: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def table(self) -> dict[str, Any]:
        """As TOML writes it, sorted, without empty tables."""
        tables = {name: dict(sorted(getattr(self, name).items())) for name in SECTIONS}
        return {
            "lock": VERSION,
            "recipe": self.recipe,
            **{name: table for name, table in tables.items() if table},
        }


SECTIONS = ("data", "imports", "methods", "models", "templates")


def path_of(recipe: Path) -> Path:
    """`chat.tune` -> `chat.lock`, in the same folder."""
    return recipe.parent / f"{recipe.stem}.lock"


def read(path: Path) -> Lock | None:
    """The lock at a path, None where there is none; raises `Unreadable`."""
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as problem:
        raise Unreadable(f"cannot be read: {problem}") from problem
    return parse(text)


def parse(text: str) -> Lock:
    """A lock from its text; raises `Unreadable`."""
    import tomllib

    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as problem:
        raise Unreadable(f"is not TOML: {problem}") from problem
    if table.get("lock") != VERSION:
        raise Unreadable(f"is no lock of version {VERSION}")
    sections = {name: table.get(name, {}) for name in SECTIONS}
    if not all(_sound(name, section) for name, section in sections.items()):
        raise Unreadable("is not laid out as a lock")
    return Lock(str(table.get("recipe", "")), **sections)


def _sound(name: str, section: Any) -> bool:
    """Texts by name; methods are tables that have a version and defaults."""
    if not isinstance(section, dict):
        return False
    if name != "methods":
        return all(isinstance(value, str) for value in section.values())
    return all(
        isinstance(each, dict)
        and isinstance(each.get("version"), int)
        and isinstance(each.get("defaults", {}), dict)
        for each in section.values()
    )


def hash_of(scope: Scope) -> str:
    """The hash of a file's canonical token text, as imports write it."""
    return f"sha256:{digest(scope.file)}"


def imports(scope: Scope) -> Iterator[tuple[str, Import, Scope]]:
    """Every import below a file: its place relative to the recipe, the item, and what it holds."""
    folder = Path(scope.file.source.name).parent
    for each in scope.all_scopes():
        for item, inner in each.imports.values():
            yield place_of(inner.file.source.name, folder), item, inner


def place_of(name: str, folder: Path) -> str:
    """A file as the recipe in `folder` names it, whatever folder the command ran in."""
    return name if name.startswith("hub:") else normpath(relpath(name, folder))


def methods(recipe: Recipe) -> dict[str, dict[str, Any]]:
    """The version and defaults of every method that a stage uses."""
    every = [stage.method for stage in recipe.stages.values() if stage.method]
    used = {f"{each.name}-{each.mode}".rstrip("-"): each for each in every}
    return {name: _method(method) for name, method in used.items()}


def _method(method: Method) -> dict[str, Any]:
    return {"version": method.version, "defaults": defaults(method)}


def defaults(method: Method) -> dict[str, str]:
    """Defaults that change a result, as recipe text: those that are part of a stage's key."""
    fields = flat(method.fields)
    given = default_values(method.fields, "")
    wanted = [path for path in sorted(given) if fields[path].key]
    return {path: literal(given[path].value) for path in wanted}
