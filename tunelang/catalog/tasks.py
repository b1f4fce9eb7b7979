"""The catalogue of benchmark tasks: the version of each, `tasks.toml` by name."""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path

FILE = Path(__file__).with_name("tasks.toml")


@cache
def _versions() -> dict[str, str]:
    return tomllib.loads(FILE.read_text(encoding="utf-8"))


def version(task: str) -> str | None:
    """The version that was current when the catalogue was written; None for tasks not known."""
    return _versions().get(task)
