"""The catalogue of licences: what they ask of a release, `licences.toml` by name."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("licences.toml")


@dataclass(frozen=True)
class Licence:
    """`keep` names the licences that what is made from such weights may carry; empty: any."""

    name: str
    source: str
    commercial: bool = True
    derivatives: bool = True
    keep: tuple[str, ...] = ()


@dataclass(frozen=True)
class Writer:
    """Whose terms restrict training on what its models write, except for models of `owners`."""

    name: str
    names: tuple[str, ...]
    owners: tuple[str, ...]
    source: str


@cache
def _file() -> dict[str, Any]:
    return tomllib.loads(FILE.read_text(encoding="utf-8"))


@cache
def _licences() -> dict[str, Licence]:
    found: dict[str, Licence] = {}
    for name, entry in _file()["licences"].items():
        keep = tuple(entry.get("keep", ()))
        terms = {key: entry[key] for key in ("commercial", "derivatives") if key in entry}
        for alias in (name, *entry.get("aliases", ())):
            found[alias] = Licence(name, entry["source"], keep=keep, **terms)
    return found


def find(name: str) -> Licence | None:
    """By name or alias, in any case; None for licences that are not judged."""
    return _licences().get(name.strip().lower())


def writer(model: str) -> Writer | None:
    """Who restricts training on what this model writes, None where nobody is known to."""
    last = model.lower().rpartition("/")[2]
    for name, entry in _file()["writers"].items():
        if last.startswith(tuple(entry["names"])):
            return Writer(name, tuple(entry["names"]), tuple(entry["owners"]), entry["source"])
    return None


def gated(hub_id: str) -> bool:
    """Whether the hub asks for consent before this model can be downloaded."""
    return hub_id.lower().startswith(tuple(_file()["gated"]["prefixes"]))
