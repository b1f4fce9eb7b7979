"""The catalogue of models: `models.toml` by hub id."""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("models.toml")


@cache
def _entries() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for name, entry in tomllib.loads(FILE.read_text(encoding="utf-8")).items():
        for alias in (name, *entry["aliases"]):
            found[alias] = entry["config"]
    return found


def config(hub_id: str) -> dict[str, Any] | None:
    """The parts of config.json that counts and estimates need; None for models not known."""
    return _entries().get(hub_id)


def names() -> tuple[str, ...]:
    return tuple(_entries())
