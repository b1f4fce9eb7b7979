"""Fingerprints: sha256 of what files hold, remembered by size and time of change."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path

from platformdirs import user_cache_path

CHUNK = 1 << 20
REMEMBER_FROM = 8 * CHUNK  # smaller files are hashed faster than looked up


def of_files(paths: Sequence[Path | str], root: Path | str) -> str:
    """One hash over the names below `root` and the contents of all files, in sorted order."""
    total = hashlib.sha256()
    for path in sorted(map(str, paths)):
        total.update(f"{os.path.relpath(path, root)}\0{of_file(Path(path))}\n".encode())
    return total.hexdigest()


def of_text(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def of_file(path: Path) -> str:
    """sha256 of a file in hex; that of a large one is remembered while its stat stays the same."""
    stat = path.stat()
    if stat.st_size < REMEMBER_FROM:
        return _hash(path)
    note = _note(path, stat)
    try:
        return str(json.loads(note.read_text())["sha256"])
    except (OSError, ValueError, KeyError):
        found = _hash(path)
        _remember(note, found)
        return found


def _hash(path: Path) -> str:
    total = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            total.update(chunk)
    return total.hexdigest()


def _note(path: Path, stat: os.stat_result) -> Path:
    name = of_text(f"{path.resolve()}\0{stat.st_size}\0{stat.st_mtime_ns}\0{stat.st_ino}")
    return user_cache_path("tunelang") / "fingerprints" / f"{name[:32]}.json"


def _remember(note: Path, found: str) -> None:
    """Best effort: a cache that cannot be written only costs time."""
    try:
        note.parent.mkdir(parents=True, exist_ok=True)
        aside = note.with_suffix(f".{os.getpid()}")
        aside.write_text(json.dumps({"sha256": found}))
        aside.replace(note)
    except OSError:
        return
