"""`tunelang show`: the recipe as it is meant, every value with its origin."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from tunelang.cli.planning import leave, settings, show_findings


def show(
    recipe: Annotated[Path, typer.Argument(help="The recipe.")],
    profile: Annotated[str | None, typer.Option(help="A profile of the recipe.")] = None,
    set: Annotated[list[str] | None, typer.Option(help="PATH=VALUE laid over the recipe.")] = None,
    param: Annotated[list[str] | None, typer.Option(help="NAME=VALUE of a param.")] = None,
    origin: Annotated[bool, typer.Option(help="Say where each value comes from.")] = True,
) -> None:
    """Print what a recipe means: every value and where it comes from."""
    from tunelang.recipe.resolve import resolve
    from tunelang.recipe.show import show as written
    from tunelang.rules import check

    chosen, found = settings(profile, set or (), param or ())
    resolved = resolve(recipe, chosen)
    found += check(resolved)
    show_findings(found)
    leave(found)
    assert resolved.recipe is not None
    sys.stdout.write(written(resolved.recipe, origins=origin))
