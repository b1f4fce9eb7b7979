"""`tunelang docs`: a recipe as Markdown."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tunelang.cli.planning import leave, settings, show_findings
from tunelang.cli.rewrite import deliver


def docs(
    recipe: Annotated[Path, typer.Argument(help="The recipe.")],
    profile: Annotated[str | None, typer.Option(help="A profile of the recipe.")] = None,
    set: Annotated[list[str] | None, typer.Option(help="PATH=VALUE laid over the recipe.")] = None,
    param: Annotated[list[str] | None, typer.Option(help="NAME=VALUE of a param.")] = None,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Write to this file, not to stdout.")
    ] = None,
) -> None:
    """Print a recipe as Markdown."""
    from tunelang.plan.document import document
    from tunelang.plan.findings import of_file

    chosen, found = settings(profile, set or (), param or ())
    checked = of_file(recipe, chosen)
    found += checked.found
    show_findings(found)
    leave(found)
    resolved = checked.resolved
    assert resolved and resolved.recipe and resolved.scope and checked.plan
    deliver(document(resolved.recipe, resolved.scope, checked.plan), out)
