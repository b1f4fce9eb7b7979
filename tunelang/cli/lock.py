"""`tunelang lock`: what a recipe means today, written beside it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from tunelang.cli.planning import leave, show_findings
from tunelang.cli.rewrite import create
from tunelang.diagnostic import Severity


def lock(recipe: Annotated[Path, typer.Argument(help="The recipe.")]) -> None:
    """Write down what a recipe means today: imports, revisions, data, templates.

    NAME.lock stands beside the recipe and covers all its profiles. Nothing is downloaded: a
    revision becomes a full commit where the hub's cache on this machine knows it.
    """
    from tunelang.plan.lock import text_of
    from tunelang.plan.pins import pins_of
    from tunelang.recipe.lock import path_of

    pins = pins_of(recipe)
    show_findings([each for each in pins.found if each.severity is Severity.ERROR])
    leave(pins.found)
    sys.stderr.write("".join(f"{note}\n" for note in pins.notes))
    target, text = path_of(recipe), text_of(pins.lock())
    if target.is_file() and target.read_bytes() == text.encode():
        sys.stdout.write(f"{target} is up to date\n")
        return
    create(target, text)
    sys.stdout.write(f"wrote {target}\n")
