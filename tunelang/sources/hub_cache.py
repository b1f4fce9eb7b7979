"""What the hub's cache on this machine knows of a repository, by the layout it documents.

`models--OWNER--NAME/refs/REVISION` holds a commit and `snapshots/COMMIT/` the files of one.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from tunelang.recipe.hub import cache

COMMIT = re.compile(r"[0-9a-f]{40}")
SHORT = re.compile(r"[0-9a-f]{7,39}")  # git's shortest abbreviation is seven


def commit(kind: Literal["models", "datasets"], repository: str, revision: str) -> str | None:
    """The full commit of a revision, None where only the network could tell."""
    if COMMIT.fullmatch(revision):
        return revision
    folder = _folder(kind, repository)
    if SHORT.fullmatch(revision):
        known = {path.name for path in folder.glob(f"snapshots/{revision}*")}
        return known.pop() if len(known) == 1 else None
    try:
        found = (folder / "refs" / revision).read_text("ascii").strip()
    except (OSError, UnicodeDecodeError, ValueError):
        return None
    return found if COMMIT.fullmatch(found) else None


def snapshot(kind: Literal["models", "datasets"], repository: str, revision: str) -> Path | None:
    """The folder of a revision's files, None where it was not downloaded."""
    found = commit(kind, repository, revision)
    folder = _folder(kind, repository) / "snapshots" / (found or "")
    return folder if found and folder.is_dir() else None


def snapshots(kind: Literal["models", "datasets"], repository: str) -> list[Path]:
    """The folders of all revisions that were downloaded, in the order of their commits."""
    return sorted(path for path in _folder(kind, repository).glob("snapshots/*") if path.is_dir())


def _folder(kind: str, repository: str) -> Path:
    return cache() / f"{kind}--{repository.replace('/', '--')}"
