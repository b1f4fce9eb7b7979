"""Which libraries an extra of TuneLang asks for and which are here, without importing them."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version


@dataclass(frozen=True)
class Library:
    """`supported` is the range of versions; `found` the version here, None if not installed."""

    name: str
    supported: str
    found: str | None

    @property
    def fits(self) -> bool:
        return self.found is not None and within(self.found, self.supported)

    @property
    def requirement(self) -> str:
        """As pip is asked for it."""
        return f"'{self.name}{self.supported}'"


def libraries(extra: str) -> tuple[Library, ...]:
    """The libraries of one extra, in the order of pyproject.toml."""
    return tuple(_look(name, supported) for name, supported in _asked(extra))


def within(version: str, supported: str) -> bool:
    """Whether a version is in a range; a development version counts as the release it leads to.

    >>> within("2.13.0+cpu", ">=2.8,<3"), within("5.24.1", ">=5.23,<5.24")
    (True, False)
    """
    return SpecifierSet(supported).contains(Version(version).base_version)


def _look(name: str, supported: str) -> Library:
    try:
        found = metadata.version(name) if find_spec(name.replace("-", "_")) else None
    except metadata.PackageNotFoundError:
        found = None
    return Library(name, supported, found)


@cache
def _asked(extra: str) -> tuple[tuple[str, str], ...]:
    """Name and range of each requirement: from the installed package, else from the checkout."""
    try:
        wanted = [Requirement(line) for line in metadata.requires("tunelang") or []]
    except metadata.PackageNotFoundError:
        project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text("utf-8"))
        lines = project["project"]["optional-dependencies"][extra]
        return tuple(_named(Requirement(line)) for line in lines)
    of_extra = [one for one in wanted if one.marker and one.marker.evaluate({"extra": extra})]
    return tuple(_named(one) for one in of_extra)


def _named(asked: Requirement) -> tuple[str, str]:
    """Name and range, the lower bound first, as people write it."""
    return asked.name, ",".join(sorted(map(str, asked.specifier), key=lambda one: one[0] == "<"))
