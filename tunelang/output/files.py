"""Which file a finding is in, as other programs want it: relative to where they stand."""

from __future__ import annotations

import os
from pathlib import Path

from tunelang.diagnostic import Diagnostic
from tunelang.source import Source


def file_of(each: Diagnostic) -> str | None:
    """The file a finding is in, None where no text is to blame or the command line is."""
    return relative(each.at.span.source) if each.at else None


def relative(source: Source) -> str | None:
    """The path of a source below this folder with `/`, as it is where it lies elsewhere."""
    if source.name.startswith(("-", "<")):  # `--set`, `<stdin>`: not a file
        return None
    path = Path(source.name)
    inside = Path(os.path.relpath(path))
    return (path if ".." in inside.parts else inside).as_posix()
