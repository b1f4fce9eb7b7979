"""How a floor finds the parts of another without naming them.

A part is a module of a package such as `tunelang.methods`, or an entry point of the group
`tunelang.methods` of an installed plug-in. A part carries its value in a module attribute
named after the group's singular: `METHOD`, `WEIGHTS`, `SOURCE`, `RULES`, `PASS`, `LAUNCHER`.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from pkgutil import iter_modules
from types import ModuleType
from typing import Any


@cache
def modules(group: str) -> tuple[ModuleType, ...]:
    """Every module of `tunelang.GROUP`, in name order, then those that plug-ins add."""
    package = import_module(f"tunelang.{group}")
    names = sorted(found.name for found in iter_modules(package.__path__))
    own = [import_module(f"tunelang.{group}.{name}") for name in names]
    added = [point.load() for point in _plugins().select(group=f"tunelang.{group}")]
    return (*own, *added)


@cache
def _plugins() -> Any:
    """Looked for once: every installed package has a file to read."""
    return entry_points()


def parts(group: str, attribute: str) -> tuple[Any, ...]:
    """The value of `attribute` in every module of the group that has one."""
    return tuple(
        getattr(module, attribute) for module in modules(group) if hasattr(module, attribute)
    )
