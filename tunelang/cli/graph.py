"""`tunelang graph`: the stages as a picture."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from tunelang.cli.planning import leave, plan_recipe, show_findings
from tunelang.cli.rewrite import deliver


class Language(StrEnum):
    MERMAID = "mermaid"
    DOT = "dot"
    SVG = "svg"


def graph(
    recipe: Annotated[Path, typer.Argument(help="The recipe.")],
    format: Annotated[
        Language, typer.Option(help="The language of the picture.")
    ] = Language.MERMAID,
    profile: Annotated[str | None, typer.Option(help="A profile of the recipe.")] = None,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Write to this file, not to stdout.")
    ] = None,
) -> None:
    """Draw the stages as Mermaid, DOT or SVG."""
    from tunelang.plan import graph as languages
    from tunelang.plan.svg import svg

    plan, found = plan_recipe(recipe, profile, (), ())
    show_findings(found)
    leave(found)
    assert plan is not None
    draw = {"mermaid": languages.mermaid, "dot": languages.dot, "svg": svg}[format]
    deliver(draw(plan), out)
