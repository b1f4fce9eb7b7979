"""Files inside installed Python packages, found without importing anything."""

from __future__ import annotations

from importlib.machinery import PathFinder
from pathlib import Path

from tunelang.diagnostic import Diagnostic, error
from tunelang.recipe.names import did_you_mean, nearest
from tunelang.source import Span


def find(package: str, file: str, span: Span | None = None) -> Path | Diagnostic:
    """The path of `file` inside `package`, or what is missing and the command that mends it."""
    spec = PathFinder.find_spec(package) if package.isidentifier() else None
    places = [Path(place) for place in (spec.submodule_search_locations or [])] if spec else []
    if not places and not package.isidentifier():
        return error(
            "TL321",
            "missing-package",
            f"`{package}` is not the name a Python package is imported by",
            span,
            "no such name",
            help=did_you_mean(package.replace("-", "_")),
        )
    if not places:
        return error(
            "TL321",
            "missing-package",
            f"the Python package `{package}` is not installed",
            span,
            "not installed",
            help=f"pip install --no-deps {package.replace('_', '-')}",
        )
    for place in places:
        path = (place / file).resolve()
        if path.is_relative_to(place.resolve()) and path.is_file():
            return path
    present = sorted(
        str(path.relative_to(place))
        for place in places
        for path in place.rglob("*")
        if path.is_file()
    )
    useful = [name for name in present if not name.endswith((".py", ".pyc"))]
    guess = did_you_mean(nearest(file, useful))
    return error(
        "TL321",
        "missing-package",
        f"the package `{package}` has no file `{file}`",
        span,
        "no such file",
        help=guess or f"it has {', '.join(useful[:5])}",
    )
