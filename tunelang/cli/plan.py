"""`tunelang plan`: what would run, on one screen, as JSON, or as a folder of worker files."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from tunelang.cli.planning import leave, plan_recipe, show_findings
from tunelang.plan.ir import Plan


def plan(
    recipe: Annotated[Path, typer.Argument(help="The recipe.")],
    profile: Annotated[str | None, typer.Option(help="A profile of the recipe.")] = None,
    set: Annotated[list[str] | None, typer.Option(help="PATH=VALUE laid over the recipe.")] = None,
    param: Annotated[list[str] | None, typer.Option(help="NAME=VALUE of a param.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the whole plan as JSON.")] = False,
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", help="Write the plan and a file for each worker here."),
    ] = None,
    exit_code: Annotated[
        bool, typer.Option("--exit-code", help="Exit 2 if something would run.")
    ] = False,
) -> None:
    """Say what would run: steps, memory, time, cost, and what is reused."""
    made, found = plan_recipe(recipe, profile, set or (), param or ())
    show_findings(found)
    leave(found)
    assert isinstance(made, Plan)
    done = finished(made)
    if json:
        sys.stdout.write(made.model_dump_json(indent=2) + "\n")
    else:
        from tunelang.plan.show import show

        sys.stdout.write(show(made, done))
    if out:
        _write(made, out)
    if exit_code and len(done) < len(made.steps):
        raise typer.Exit(2)


def finished(made: Plan) -> list[str]:
    """The steps whose result the store holds."""
    from tunelang.run.store import Store, default_home

    store = Store(default_home())
    return [step.name for step in made.steps if store.has(step.key)]


def _write(made: Plan, folder: Path) -> None:
    """`plan.json` and `steps/NN-NAME.json`, each written aside and renamed."""
    from tunelang.run.store import write_atomic

    (folder / "steps").mkdir(parents=True, exist_ok=True)
    write_atomic(folder / "plan.json", (made.model_dump_json(indent=2) + "\n").encode())
    for number, step in enumerate(made.steps, 1):
        text = step.model_dump_json(indent=2) + "\n"
        write_atomic(folder / "steps" / f"{number:02}-{step.name}.json", text.encode())
