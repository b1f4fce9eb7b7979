"""`hub:owner/name@version`: a recipe file in a data set repository of the Hugging Face hub.

The version is a tag of the repository and the file is `recipe.tune`. Reading needs no network: the
file is taken from the hub's cache on this machine, where `tunelang fetch` puts it.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

PLACE = re.compile(r"hub:([\w.-]+)/([\w.-]+)@([\w.+-]+)")
FILE = "recipe.tune"


@dataclass(frozen=True)
class Place:
    """The parts of `hub:owner/name@version`."""

    owner: str
    name: str
    version: str

    @property
    def repository(self) -> str:
        return f"{self.owner}/{self.name}"


def parse(text: str) -> Place | None:
    """The parts of a hub import, None where it is not written as one."""
    match = PLACE.fullmatch(text)
    return Place(*match.groups()) if match else None


def cached(place: Place) -> Path | None:
    """The file in the hub's cache, by the layout that huggingface_hub documents.

    `datasets--OWNER--NAME/refs/VERSION` holds the commit, `snapshots/COMMIT/` the files.
    """
    folder = cache() / f"datasets--{place.owner}--{place.name}"
    try:
        commit = (folder / "refs" / place.version).read_text("ascii").strip()
    except (OSError, UnicodeDecodeError):
        return None
    path = folder / "snapshots" / commit / FILE
    return path if path.is_file() else None


def cache() -> Path:
    """Where huggingface_hub keeps what it has downloaded, by the variables that it reads itself."""
    if named := os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE"):
        return Path(named)
    if home := os.environ.get("HF_HOME"):
        return Path(home) / "hub"
    shared = os.environ.get("XDG_CACHE_HOME")
    return (Path(shared) if shared else Path.home() / ".cache") / "huggingface" / "hub"
