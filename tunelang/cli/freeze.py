"""`tunelang freeze`: the hashes of imports, inline."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from tunelang.cli.planning import leave, show_findings
from tunelang.cli.rewrite import rewrite
from tunelang.recipe.names import Scope

WRITTEN_HERE = ("TL110", "TL111")  # a hash that is missing or another: what freezing mends


def freeze(
    recipe: Annotated[Path, typer.Argument(help="The recipe.")],
    verify: Annotated[
        bool, typer.Option("--verify", help="Write nothing; exit 1 if a hash is missing or wrong.")
    ] = False,
) -> None:
    """Write the hashes of imports into the recipe itself, and into the local files it imports.

    A recipe that is frozen says what it means without its lock: mailed alone, its imports cannot
    change unseen. Each hash that is added or replaced is printed.
    """
    from tunelang.recipe.freeze import freeze as frozen_of
    from tunelang.recipe.freeze import unfrozen

    scope = _scope(recipe)
    if verify:
        wrong = list(dict.fromkeys(unfrozen(scope)))
        show_findings(wrong)
        leave(wrong)
        return
    frozen = frozen_of(scope)
    for path, text in frozen.texts.items():
        rewrite(path, text)
    sys.stdout.write("".join(f"{line}\n" for line in frozen.said) or f"{recipe} is frozen\n")


def _scope(recipe: Path) -> Scope:
    """The recipe with its imports; mistakes that no hash mends end the command."""
    from tunelang.recipe.load import load

    scope, found = load(recipe, trust=True)
    found = [each for each in found if each.code not in WRITTEN_HERE]
    show_findings(found)
    leave(found)
    assert scope is not None
    return scope
