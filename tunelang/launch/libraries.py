"""Which libraries an extra of TuneLang asks for and which are here, without importing them."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

BOUND = re.compile(r"(>=|<=|==|!=|>|<)\s*([\d.]+)")
REQUIREMENT = re.compile(r"^([A-Za-z0-9_.-]+)\s*([^;]*?)\s*(?:;(.*))?$")


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
    """Whether a version is in a range such as `>=5.23,<5.24`; what follows the digits is left out.

    >>> within("2.13.0+cpu", ">=2.8,<3"), within("5.24.1", ">=5.23,<5.24")
    (True, False)
    """
    here = _digits(version)
    return all(_holds(here, sign, _digits(bound)) for sign, bound in BOUND.findall(supported))


def _holds(here: tuple[int, ...], sign: str, bound: tuple[int, ...]) -> bool:
    width = max(len(here), len(bound))
    left, right = _padded(here, width), _padded(bound, width)
    answers = {
        ">=": left >= right,
        "<=": left <= right,
        ">": left > right,
        "<": left < right,
        "==": left == right,
        "!=": left != right,
    }
    return answers[sign]


def _padded(numbers: tuple[int, ...], width: int) -> tuple[int, ...]:
    return numbers + (0,) * (width - len(numbers))


def _digits(version: str) -> tuple[int, ...]:
    found = re.match(r"\d+(?:\.\d+)*", version)
    return tuple(int(part) for part in found.group().split(".")) if found else ()


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
        lines = metadata.requires("tunelang") or []
        wanted = [line for line in lines if f'extra == "{extra}"' in line.replace("'", '"')]
    except metadata.PackageNotFoundError:
        project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text("utf-8"))
        wanted = project["project"]["optional-dependencies"][extra]
    found = [REQUIREMENT.match(line) for line in wanted]
    return tuple((match[1], match[2].strip()) for match in found if match)
