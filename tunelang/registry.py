"""How a floor finds the parts of another without naming them.

A part is a module of a package such as `tunelang.methods`, or an entry point of the group
`tunelang.methods` of an installed plug-in. A part carries its value in a module attribute
named after the group's singular: `METHOD`, `WEIGHTS`, `SOURCE`, `RULES`, `PASS`, `LAUNCHER`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from types import ModuleType
from typing import Any

ENTRY_POINTS = "*-info/entry_points.txt"  # of wheels (dist-info) and older packages (egg-info)


@cache
def modules(group: str) -> tuple[ModuleType, ...]:
    """Every module of `tunelang.GROUP`, in name order, then those that plug-ins add."""
    package = import_module(f"tunelang.{group}")
    names = sorted(found.name for found in iter_modules(package.__path__))
    own = [import_module(f"tunelang.{group}.{name}") for name in names]
    return (*own, *_plugins(group))


def _plugins(group: str) -> Iterator[ModuleType]:
    """What installed packages add; `importlib.metadata` takes 12 ms, and nobody may need it."""
    if _somebody_adds():
        from importlib.metadata import entry_points

        yield from (point.load() for point in entry_points(group=f"tunelang.{group}"))


@cache
def _somebody_adds() -> bool:
    """Whether a package that is installed names one of our groups."""
    folders = [Path(entry or ".") for entry in sys.path]
    texts = (
        path.read_text("utf-8", "replace") for each in folders for path in each.glob(ENTRY_POINTS)
    )
    return any("[tunelang." in text for text in texts)


def parts(group: str, attribute: str) -> tuple[Any, ...]:
    """The value of `attribute` in every module of the group that has one."""
    return tuple(
        getattr(module, attribute) for module in modules(group) if hasattr(module, attribute)
    )
