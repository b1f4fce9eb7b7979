"""`tunelang run`: plan, say what will happen, execute, and close with what came of it."""

from __future__ import annotations

import gc
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tunelang.cli.planning import plan_recipe, show_findings

if TYPE_CHECKING:
    from rich.console import Console

    from tunelang.plan.ir import Plan
    from tunelang.run.outcome import Outcome
    from tunelang.run.store import Store

INTERRUPTED = 130


def run(
    recipe: Annotated[Path, typer.Argument(help="The recipe.")],
    profile: Annotated[str | None, typer.Option(help="A profile of the recipe.")] = None,
    set: Annotated[list[str] | None, typer.Option(help="PATH=VALUE laid over the recipe.")] = None,
    param: Annotated[list[str] | None, typer.Option(help="NAME=VALUE of a param.")] = None,
    plain: Annotated[bool, typer.Option("--plain", help="Lines instead of bars.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Allow downloads from the hub.")] = False,
) -> None:
    """Run a recipe; the same command goes on after any interruption."""
    from rich.console import Console

    gc.enable()  # a run may take days
    plan, found = plan_recipe(recipe, profile, set or (), param or ())
    show_findings(found)
    if plan is None or any(each.code == "TL701" for each in found):
        raise typer.Exit(1)
    console = Console(highlight=False)
    try:
        outcome = _executed(plan, recipe, console, plain=plain, yes=yes)
    except KeyboardInterrupt:
        console.print("stopped; the same command goes on from the last checkpoint")
        raise typer.Exit(INTERRUPTED) from None
    raise typer.Exit(outcome.exit_code)


def _executed(plan: Plan, recipe: Path, console: Console, *, plain: bool, yes: bool) -> Outcome:
    from tunelang.run.closing import show
    from tunelang.run.execute import Settings, execute
    from tunelang.run.progress import display
    from tunelang.run.store import Store, default_home

    store = Store(default_home())
    console.print(forecast(plan, store), soft_wrap=True)
    for line in left_out(recipe):
        console.print(line, soft_wrap=True)
    hub = _may_download(plan, store, console, yes=yes)
    settings = Settings(hub=hub, profiles=profiles(recipe))
    outcome = execute(plan, store, display=display(console, plain=plain), settings=settings)
    show(console, outcome, store, str(recipe))
    console.file.flush()
    show_findings(outcome.diagnostics)
    if outcome.exit_code == INTERRUPTED:
        at = f" at {outcome.stopped_at}" if outcome.stopped_at else ""
        console.print(f"stopped{at}; the same command goes on", soft_wrap=True)
    return outcome


def forecast(plan: Plan, store: Store) -> str:
    """The run in one line: how many stages there are, which run, and what they should need."""
    from tunelang.run.amounts import duration, size

    running = [step for step in plan.steps if not store.has(step.key)]
    stages = f"{len(plan.steps)} stage{'' if len(plan.steps) == 1 else 's'}"
    if not running:
        return f"{plan.recipe}: {stages}, all in the store"
    line = f"{plan.recipe}: {stages}, {len(running)} to run ({', '.join(s.name for s in running)})"
    needs = [step.estimate for step in running if step.estimate is not None]
    if needs:
        seconds, peak = sum(need.seconds for need in needs), max(need.peak for need in needs)
        line += f"; about {duration(seconds)}, at most {size(peak)} of memory"
    return line


def profiles(recipe: Path) -> tuple[str, ...]:
    """The names of a recipe's own profiles, for advice."""
    return _named(recipe, "profile")


def left_out(recipe: Path) -> list[str]:
    """What the recipe declares beside stages, and this version of `run` does not carry out."""
    asked = (("sweep", "runs the recipe's own values only"), ("publish", "publishes nothing"))
    return [
        f"{kind} `{name}` is not carried out: this version {instead}"
        for kind, instead in asked
        for name in _named(recipe, kind)
    ]


def _named(recipe: Path, kind: str) -> tuple[str, ...]:
    from tunelang.source import Source
    from tunelang.syntax.parse import parse

    file, _ = parse(Source(str(recipe), recipe.read_text("utf-8")))
    return tuple(each.name.text for each in file.declarations() if each.kind.text == kind)


def _may_download(plan: Plan, store: Store, console: Console, *, yes: bool) -> bool:
    """Whether workers may reach the hub: asked on a terminal, else only with `--yes`."""
    from tunelang.launch.environment import asks_hub

    asking = [step for step in plan.steps if asks_hub(step) and not store.has(step.key)]
    if not asking or os.environ.get("HF_HUB_OFFLINE", "0") not in ("", "0"):
        return False
    if yes:
        return True
    named = ", ".join(f"`{step.name}`" for step in asking)
    if sys.stdin.isatty():
        return typer.confirm(f"{named} may download from the hub. Allow it?", default=True)
    console.print(f"{named} may use only what is downloaded already; `--yes` allows downloads")
    return False
