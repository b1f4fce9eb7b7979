"""Writing files whole or not at all: recipes changed in place, and what a command makes."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def rewrite(path: Path, text: str) -> None:
    """Replace the text of a recipe file, with its mode and through links."""
    target = path.resolve()
    with _said(path):
        mode = target.stat().st_mode
        _write(target, text)
        target.chmod(mode)


def deliver(text: str, out: Path | None) -> None:
    """Print what a command makes, or write it to the file that was named."""
    if out is None:
        sys.stdout.write(text)
    else:
        create(out, text)


def create(path: Path, text: str) -> None:
    """Write a file and the folders above it."""
    with _said(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        _write(path, text)


def _write(path: Path, text: str) -> None:
    from tunelang.run.store import write_atomic

    write_atomic(path, text.encode())


@contextmanager
def _said(path: Path) -> Iterator[None]:
    """A file that cannot be written ends the command with a finding; the old one is whole."""
    try:
        yield
    except OSError as problem:
        from tunelang.cli.finished import end
        from tunelang.diagnostic import error

        message = f"`{path}` cannot be written: {problem.strerror}"
        end([error("TL013", "cannot-write", message, None, help="name another path")])
