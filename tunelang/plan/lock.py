"""Locking a recipe, and what has moved since it was locked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from tunelang.diagnostic import Diagnostic, Severity, error, has_errors
from tunelang.plan.pins import Pin, Pins, pins_of
from tunelang.recipe import lock as locks
from tunelang.recipe.names import Scope
from tunelang.source import Span
from tunelang.sources.hub_cache import COMMIT

SHOWN = 19  # characters of a hash: `sha256:` and twelve digits


def text_of(lock: locks.Lock) -> str:
    """The lock as the file is written: TOML, keys sorted."""
    import tomli_w

    return "# Written by `tunelang lock`; `tunelang check --locked` compares.\n" + tomli_w.dumps(
        lock.table()
    )


def held(path: Path, found: Iterable[Diagnostic]) -> list[Diagnostic]:
    """Findings as `--locked` wants them: a branch is an error, and so is each thing that moved."""
    strict = [
        replace(each, severity=Severity.ERROR) if each.code == "TL801" else each for each in found
    ]
    return [*strict, *drift(path)]


def drift(path: Path) -> list[Diagnostic]:
    """TL802: each thing that is not as it was locked; a recipe with errors is not compared."""
    pins = pins_of(path)
    if pins.scope is None or has_errors(pins.found):
        return []
    beside = locks.path_of(path)
    try:
        lock = locks.read(beside)
    except locks.Unreadable as problem:
        return [_stale(f"`{beside.name}` {problem}", _top(pins.scope), "no lock", path)]
    if lock is None:
        return [_stale(f"there is no `{beside.name}`", _top(pins.scope), "never locked", path)]
    moved = [*_entries(pins, lock, path), *_methods(pins, lock, path)]
    if not moved and lock.recipe != locks.hash_of(pins.scope):
        said = f"`{path.name}` has changed since it was locked"
        moved = [_stale(said, _top(pins.scope), "not the text that was locked", path)]
    return moved


def _stale(message: str, span: Span, label: str, path: Path, was: str = "") -> Diagnostic:
    help = f"{was}`tunelang lock {path}` writes down what is there now"
    return error("TL802", "stale-lock", message, span, label, help=help)


def _top(scope: Scope) -> Span:
    """Where something is said of the recipe as a whole: its edition line."""
    edition = scope.file.edition
    return edition.span if edition else Span(scope.file.source, 0, 0)


def _entries(pins: Pins, lock: locks.Lock, path: Path) -> Iterator[Diagnostic]:
    """Imports, models, data and templates; what one side does not know is not compared."""
    gone = {
        (section, key)
        for section in ("imports", "models", "data")
        for key in getattr(lock, section)
        if (section, key) not in pins.every
    }
    for (section, key), pin in pins.every.items():
        old = getattr(lock, section).get(key)
        if old is None and section != "templates":
            twin = next((each for each in sorted(gone) if _same_place(each, pin)), None)
            gone.discard(twin or ("", ""))
            yield _stale(_unlocked(pin, twin, path), pin.span, "not locked", path)
        elif old is not None and old != pin.value and _full(old) and _full(pin.value):
            was = f"locked as {old[:SHOWN]}, now {pin.value[:SHOWN]}; "
            yield _stale(_moved(pin), pin.span, "not what was locked", path, was)
    assert pins.scope is not None
    for _, key in sorted(gone):
        said = f"the lock names `{key}`, and this recipe no longer does"
        yield _stale(said, _top(pins.scope), "names it no more", path)


def _same_place(locked: tuple[str, str], pin: Pin) -> bool:
    """Whether a locked entry is another revision of what a pin names."""
    section, key = locked
    return section == pin.section and "@" in key and key.split("@")[0] == pin.key.split("@")[0]


def _unlocked(pin: Pin, twin: tuple[str, str] | None, path: Path) -> str:
    if twin is not None:
        old, new = (key.partition("@")[2][:SHOWN] for key in (twin[1], pin.key))
        return f"`{pin.name}` is at `{new}`, and was locked at `{old}`"
    return f"`{pin.name}` is {_what(pin)} that `{locks.path_of(path).name}` does not name"


def _full(value: str) -> bool:
    """A revision that nobody could resolve says nothing of where it points."""
    return value.startswith("sha256:") or COMMIT.fullmatch(value) is not None


def _what(pin: Pin) -> str:
    words = {"imports": "an import", "models": "a model", "data": "a data set"}
    return f"{words[pin.section]} (`{pin.key}`)"


def _moved(pin: Pin) -> str:
    if pin.key.startswith("hf ") and pin.section != "templates":
        repository, _, revision = pin.key.removeprefix("hf ").partition("@")
        return f"`{revision}` of `{repository}` has moved"
    words = {
        "imports": f"`{pin.key}` is not the text that was locked",
        "models": f"`{pin.name}` has other weights than those that were locked",
        "data": f"`{pin.name}` has other rows than those that were locked",
        "templates": f"`{pin.name}` has another chat template than the one that was locked",
    }
    return words[pin.section]


def _methods(pins: Pins, lock: locks.Lock, path: Path) -> Iterator[Diagnostic]:
    """Another version of a method, or other defaults: values that nobody wrote have changed."""
    assert pins.scope is not None
    for name, now in pins.methods.items():
        old: Mapping[str, Any] | None = lock.methods.get(name)
        if old is None:
            yield _stale(f"`{name}` is not locked", _top(pins.scope), "a method", path)
            continue
        changed = _changed(old.get("defaults", {}), now["defaults"])  # type: ignore[arg-type]
        if old["version"] == now["version"] and not changed:
            continue
        said = f"`{name}` is not as it was locked"
        if old["version"] != now["version"]:
            said = f"`{name}` is version {now['version']} here, and {old['version']} in the lock"
        was = f"defaults that differ: {', '.join(changed)}; " if changed else ""
        yield _stale(said, _top(pins.scope), "values that nobody wrote", path, was)


def _changed(old: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """A default that joined the method later changed nothing that was locked."""
    moved = [key for key in old if now.get(key) != old[key]]
    return [f"{key}: {old[key]} → {now.get(key, 'none')}" for key in moved]
