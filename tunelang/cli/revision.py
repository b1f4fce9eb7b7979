"""A recipe as it was in a git commit: `HEAD~1:recipes/chat.tune`."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tunelang.diagnostic import Diagnostic, error


@dataclass(frozen=True)
class Committed:
    """The text of a file in a commit, where the file is now, and how messages name it."""

    text: bytes
    path: Path
    name: str
    lock: bytes | None


def is_revision(word: str) -> bool:
    """Whether a word names a file of a commit rather than one that is here."""
    return ":" in word and not Path(word).exists()


def committed(word: str) -> Committed | Diagnostic:
    """What git has; the path counts from the repository's root, else from this folder."""
    revision, _, path = word.partition(":")
    top, commit = _git("rev-parse", "--show-toplevel"), _git("rev-parse", "--short", revision)
    if top is None or commit is None or revision.startswith("-"):
        why = f"git knows no commit `{revision}` here" if top else "this is no git repository"
        return error("TL012", "unreadable-file", f"`{word}` cannot be read: {why}", None)
    root = Path(top.decode().strip())
    folder = Path(os.path.relpath(Path.cwd(), root))
    for inside in (Path(path), folder / path):
        name = os.path.normpath(inside)
        text = _git("show", f"{revision}:{name}")
        if text is not None:
            lock = _git("show", f"{revision}:{Path(name).parent / Path(name).stem}.lock")
            here = Path(os.path.relpath(root / name))
            return Committed(text, here, f"{here}@{commit.decode().strip()}", lock)
    said = f"`{word}` cannot be read: that commit has no such file"
    help = "a path of git counts from the root of the repository"
    return error("TL012", "unreadable-file", said, None, help=help)


def _git(*words: str) -> bytes | None:
    """What a git command prints, None where it fails or is not installed."""
    try:
        done = subprocess.run(["git", *words], capture_output=True, check=False)
    except FileNotFoundError:
        return None
    return done.stdout if done.returncode == 0 else None
