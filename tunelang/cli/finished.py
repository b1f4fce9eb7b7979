"""From the name of a stage to its finished object: what chat and generate share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import typer

from tunelang.cli.planning import plan_recipe, show_findings
from tunelang.diagnostic import Diagnostic, error
from tunelang.plan.ir import Step
from tunelang.run.store import Store, default_home

# Products that nobody can talk to, and why.
SILENT = {
    "reward": "a reward model: it scores replies and writes none",
    "classifier": "a classifier: it tells classes and writes nothing",
    "data": "rows: they are read, not talked to",
    "metrics": "a measurement: it made no model",
    "export": "an export: talk to the stage that it was made of",
}


@dataclass(frozen=True)
class Wanted:
    """A stage as the command line names it."""

    stage: str
    recipe: Path | None
    profile: str | None
    sets: tuple[str, ...] = ()
    params: tuple[str, ...] = ()


def finished(wanted: Wanted) -> tuple[Store, Step]:
    """The step of a stage that has run; else its diagnostic is shown and the command ends."""
    recipe = wanted.recipe or only_recipe()
    plan, found = plan_recipe(recipe, wanted.profile, wanted.sets, wanted.params)
    if plan is None:
        end(found)
    step = next((each for each in plan.steps if each.name == wanted.stage), None)
    if step is None:
        listed = f"its stages are {', '.join(each.name for each in plan.steps)}"
        message = f"{recipe} has no stage `{wanted.stage}`"
        end([error("TL101", "unknown-name", message, None, help=listed)])
    store = Store(default_home())
    problem = _problem(step, wanted, recipe, store)
    if problem is not None:
        end([problem])
    return store, step


def end(found: Sequence[Diagnostic]) -> NoReturn:
    """Show what is wrong and leave with exit code 1."""
    show_findings(found)
    raise typer.Exit(1)


def _problem(step: Step, wanted: Wanted, recipe: Path, store: Store) -> Diagnostic | None:
    if step.product in SILENT:
        message = f"`{step.name}` is {SILENT[step.product]}"
        return error("TL115", "wrong-stage-kind", message, None)
    if not store.has(step.key):
        chosen = f" --profile {wanted.profile}" if wanted.profile else ""
        message = f"stage `{step.name}` has not run yet with these values"
        advice = f"tunelang run {recipe}{chosen}"
        return error("TL720", "not-in-store", message, None, help=advice)
    return None


def only_recipe() -> Path:
    """The recipe of this folder, if there is just one."""
    recipes = sorted(Path().glob("*.tune"))
    if len(recipes) == 1:
        return recipes[0]
    there = f"this folder has {len(recipes)} recipes" if recipes else "this folder has no recipe"
    end([error("TL012", "unreadable-file", there, None, help="name one with `--recipe PATH`")])
