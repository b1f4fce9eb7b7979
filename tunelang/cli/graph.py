"""`tunelang graph`: the stages as a picture in text."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from tunelang.cli.planning import leave, plan_recipe, show_findings


class Language(StrEnum):
    MERMAID = "mermaid"
    DOT = "dot"


def graph(
    recipe: Annotated[Path, typer.Argument(help="The recipe.")],
    format: Annotated[
        Language, typer.Option(help="The language of the picture.")
    ] = Language.MERMAID,
    profile: Annotated[str | None, typer.Option(help="A profile of the recipe.")] = None,
) -> None:
    """Draw the stages as Mermaid or DOT."""
    from tunelang.plan.graph import dot, mermaid

    plan, found = plan_recipe(recipe, profile, (), ())
    show_findings(found)
    leave(found)
    assert plan is not None
    sys.stdout.write(mermaid(plan) if format is Language.MERMAID else dot(plan))
