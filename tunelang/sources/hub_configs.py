"""The config.json of a model in the hub's cache on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunelang.sources import config_file, hub_cache


@dataclass(frozen=True)
class Cached:
    """What a downloaded config.json says, and the commit that it is of."""

    config: dict[str, Any]
    commit: str


def find(repository: str, revision: str = "main") -> Cached | None:
    """That of `revision`, else of the newest branch, else of any one that was downloaded.

    A revision that is pinned and not yet here is almost always built as the others are; None where
    there is no file that can be read.
    """
    for folder in dict.fromkeys(_folders(repository, revision)):
        config = _read(folder / "config.json")
        if config is not None:
            return Cached(config, folder.name)
    return None


def _folders(repository: str, revision: str) -> Iterator[Path]:
    for name in (revision, "main"):
        folder = hub_cache.snapshot("models", repository, name)
        if folder:
            yield folder
    yield from hub_cache.snapshots("models", repository)


def _read(path: Path) -> dict[str, Any] | None:
    try:
        return config_file.read(path)
    except (OSError, ValueError):
        return None
