"""Writing files whole or not at all: recipes changed in place, and what a command makes."""

from __future__ import annotations

import sys
from pathlib import Path


def rewrite(path: Path, text: str) -> None:
    """Replace the text of a recipe file, with its mode and through links."""
    from tunelang.run.store import write_atomic

    target = path.resolve()
    mode = target.stat().st_mode
    write_atomic(target, text.encode())
    target.chmod(mode)


def deliver(text: str, out: Path | None) -> None:
    """Print what a command makes, or write it to the file that was named."""
    if out is None:
        sys.stdout.write(text)
    else:
        create(out, text)


def create(path: Path, text: str) -> None:
    """Write a file and the folders above it; where that fails a finding ends the command."""
    from tunelang.run.store import write_atomic

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, text.encode())
    except OSError as problem:
        from tunelang.cli.finished import end
        from tunelang.diagnostic import error

        message = f"`{path}` cannot be written: {problem.strerror}"
        end([error("TL013", "cannot-write", message, None, help="name another path")])
