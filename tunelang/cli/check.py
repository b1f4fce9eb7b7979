"""`tunelang check`: every mistake of several recipes under several profiles."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from tunelang.cli.planning import check_recipe, settings
from tunelang.diagnostic import Diagnostic, Severity, has_errors
from tunelang.output import OUTPUTS, render


def check(
    paths: Annotated[list[Path], typer.Argument(help="Recipes, or folders that hold some.")],
    profile: Annotated[
        list[str] | None, typer.Option(help="Check under this profile; may repeat.")
    ] = None,
    set: Annotated[list[str] | None, typer.Option(help="PATH=VALUE laid over the recipe.")] = None,
    param: Annotated[list[str] | None, typer.Option(help="NAME=VALUE of a param.")] = None,
    output: Annotated[str, typer.Option(help=f"One of {', '.join(OUTPUTS)}.")] = "full",
    deny: Annotated[str | None, typer.Option(help="`warning`: warnings fail as errors do.")] = None,
    hints: Annotated[bool, typer.Option(help="Show hints as well.")] = False,
) -> None:
    """Find every mistake in recipes, without torch, network or GPU."""
    if output not in OUTPUTS:
        raise typer.BadParameter(f"{output} is not one of {', '.join(OUTPUTS)}")
    recipes = recipes_of(paths)
    found: dict[Diagnostic, None] = {}
    for recipe in recipes:
        for name in profile or (None,):
            chosen, problems = settings(name, set or (), param or ())
            found |= dict.fromkeys(problems + _planned(recipe, chosen))
        if not profile:
            found |= dict.fromkeys(_profiles(recipe))
    shown = [each for each in found if hints or each.severity is not Severity.HINT]
    sys.stdout.write(render(output, shown, colour=sys.stdout.isatty()))
    if output == "full":
        sys.stdout.write(f"{summary(list(found), len(recipes))}\n")
    if has_errors(found) or (
        deny == "warning" and any(each.severity is Severity.WARNING for each in found)
    ):
        raise typer.Exit(1)


def _planned(recipe: Path, chosen) -> list[Diagnostic]:  # type: ignore[no-untyped-def]
    """Findings of the rules, then of planning where there are no errors yet."""
    checked = check_recipe(recipe, chosen)
    if has_errors(checked.found) or checked.resolved.recipe is None:
        return checked.found
    from tunelang.plan.build import build

    return checked.found + build(checked.resolved.recipe)[1]


def _profiles(recipe: Path) -> list[Diagnostic]:
    """Mistakes inside the recipe's profiles, found by settling it under each."""
    from tunelang.recipe.load import read_source
    from tunelang.recipe.overrides import Settings
    from tunelang.recipe.resolve import resolve
    from tunelang.syntax.parse import parse

    source, _ = read_source(recipe, str(recipe))
    names = (
        [d.name.text for d in parse(source)[0].declarations() if d.kind.text == "profile"]
        if source
        else []
    )
    return [each for name in names for each in resolve(recipe, Settings(name)).found]


def recipes_of(paths: list[Path]) -> list[Path]:
    """Files as they are, folders as the .tune files below them."""
    found: list[Path] = []
    for path in paths:
        inside = sorted(path.rglob("*.tune")) if path.is_dir() else []
        found += inside or [path]
    return found


def summary(found: list[Diagnostic], files: int) -> str:
    """`2 errors and 1 warning in 1 recipe`."""
    counts = Counter(each.severity for each in found)
    parts = [
        _counted(counts[kind], kind)
        for kind in Severity
        if counts[kind] and kind is not Severity.HINT
    ]
    recipes = _counted(files, "recipe")
    return f"{' and '.join(parts)} in {recipes}" if parts else f"No mistakes in {recipes}."


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
