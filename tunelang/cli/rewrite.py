"""Changing a recipe in place: whole or not at all, with its mode, through links."""

from __future__ import annotations

from pathlib import Path


def rewrite(path: Path, text: str) -> None:
    """Replace the text of a recipe file."""
    from tunelang.run.store import write_atomic

    target = path.resolve()
    mode = target.stat().st_mode
    write_atomic(target, text.encode())
    target.chmod(mode)
