"""`tunelang run`: plan, say what will happen, execute, and close with what came of it."""

from __future__ import annotations

import gc
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tunelang.cli.planning import plan_recipe, show_findings

if TYPE_CHECKING:
    from rich.console import Console

    from tunelang.launch.rendezvous import Node
    from tunelang.plan.ir import Plan
    from tunelang.run.outcome import Outcome
    from tunelang.run.state import Settings
    from tunelang.run.store import Store

INTERRUPTED = 130


@dataclass(frozen=True)
class Asked:
    """What the command line says of how to run."""

    recipe: Path
    plain: bool
    yes: bool
    only: str | None
    launcher: str | None
    setup: Path | None
    node: int | None
    rendezvous: str | None


def run(
    recipe: Annotated[Path, typer.Argument(help="The recipe, or the folder of a written plan.")],
    profile: Annotated[str | None, typer.Option(help="A profile of the recipe.")] = None,
    set: Annotated[list[str] | None, typer.Option(help="PATH=VALUE laid over the recipe.")] = None,
    param: Annotated[list[str] | None, typer.Option(help="NAME=VALUE of a param.")] = None,
    plain: Annotated[bool, typer.Option("--plain", help="Lines instead of bars.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Allow downloads from the hub.")] = False,
    only: Annotated[
        str | None, typer.Option(help="Run this stage; what it needs is in the store.")
    ] = None,
    launcher: Annotated[
        str | None, typer.Option(help="slurm, kubernetes or skypilot; local runs it here.")
    ] = None,
    setup: Annotated[
        Path | None, typer.Option(help="A shell file that prepares each machine of a job.")
    ] = None,
    node: Annotated[
        int | None, typer.Option(help="Which of a stage's machines this is, from 0.")
    ] = None,
    rendezvous: Annotated[
        str | None,
        typer.Option(envvar="TUNELANG_RENDEZVOUS", help="HOST:PORT of the machine of node 0."),
    ] = None,
) -> None:
    """Run a recipe; the same command goes on after any interruption."""
    from rich.console import Console

    gc.enable()  # a run may take days
    asked = Asked(recipe, plain, yes, only, launcher, setup, node, rendezvous)
    plan = _plan(recipe, profile, set or [], param or [])
    console = Console(highlight=False)
    try:
        code = _carried_out(plan, asked, console)
    except KeyboardInterrupt:
        console.print("stopped; the same command goes on from the last checkpoint")
        raise typer.Exit(INTERRUPTED) from None
    raise typer.Exit(code)


def _plan(recipe: Path, profile: str | None, sets: list[str], params: list[str]) -> Plan:
    """The recipe's plan, or the written one as it stands; exits where there is none."""
    from tunelang.diagnostic import Diagnostic
    from tunelang.run import written

    if not _written(recipe):
        plan, found = plan_recipe(recipe, profile, sets, params)
        show_findings(found)
        if plan is None or any(each.code == "TL701" for each in found):
            raise typer.Exit(1)
        return plan
    if profile or sets or params:
        raise typer.BadParameter("a written plan is carried out as it stands; plan the recipe anew")
    loaded = written.load(recipe)
    if isinstance(loaded, Diagnostic):
        show_findings([loaded])
        raise typer.Exit(1)
    return loaded


def _written(path: Path) -> bool:
    """Whether a path is a written plan, and no recipe."""
    from tunelang.run import written

    return written.is_plan(path)


def _carried_out(plan: Plan, asked: Asked, console: Console) -> int:
    """The exit code. Jobs of a scheduler tell by theirs whether another attempt may help."""
    from tunelang.diagnostic import Diagnostic
    from tunelang.launch.scheduler import RETRY
    from tunelang.run import nodes, written
    from tunelang.run.store import Store, default_home

    store = Store(default_home())
    if asked.only is not None:
        narrowed = written.narrowed(plan, asked.only, store)
        if isinstance(narrowed, Diagnostic):
            show_findings([narrowed])
            return 1
        plan = narrowed
    settings = _settings(plan, asked, store, console)
    if settings.node is not None and settings.node.rank > 0:
        return nodes.take_part(plan, store, settings, console.print)
    outcome = _executed(plan, asked, settings, store, console)
    crashed = any(each.code == "TL723" for each in outcome.diagnostics)
    return RETRY if crashed and asked.only is not None else outcome.exit_code


def _settings(plan: Plan, asked: Asked, store: Store, console: Console) -> Settings:
    from tunelang.run.state import Settings

    hub = _may_download(plan, store, console, yes=asked.yes)
    own = profiles(asked.recipe)
    return Settings(hub=hub, profiles=own, only=asked.only, node=_node(plan, asked))


def _node(plan: Plan, asked: Asked) -> Node | None:
    """This machine where several share a stage; exits where the options do not say so."""
    from tunelang.launch.rendezvous import Node

    count = max((step.place.nodes for step in plan.steps), default=1)
    if asked.node is None:
        return None
    if not 0 <= asked.node < count:
        has = f"nodes 0 to {count - 1}" if count > 1 else "one machine, node 0"
        raise typer.BadParameter(f"`--node {asked.node}`: the plan has {has}")
    if count == 1:
        return None
    host, _, port = (asked.rendezvous or "").rpartition(":")
    if not host or not port.isdigit():
        raise typer.BadParameter("`--node` needs `--rendezvous HOST:PORT`, the machine of node 0")
    return Node(asked.node, count, host, int(port))


def _executed(
    plan: Plan, asked: Asked, settings: Settings, store: Store, console: Console
) -> Outcome:
    from tunelang.run.carry import Means, carry_out
    from tunelang.run.closing import show
    from tunelang.run.progress import display, say

    for line in (forecast(plan, store), *left_out(asked.recipe)):
        say(console, line)
    shown = display(console, plain=asked.plain)
    means = Means(asked.launcher, asked.setup)
    outcome = carry_out(plan, store, means, display=shown, settings=settings)
    show(console, outcome, store, plan.recipe if _written(asked.recipe) else str(asked.recipe))
    console.file.flush()
    show_findings(outcome.diagnostics)
    if outcome.exit_code == INTERRUPTED:
        where = f" {outcome.stopped_at}" if outcome.stopped_at else ""
        say(console, outcome.left or f"stopped{where}; the same command goes on")
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
        each = " a process" if any(step.place.processes > 1 for step in running) else ""
        line += f"; about {duration(seconds)}, at most {size(peak)} of memory{each}"
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
    if _written(recipe):
        return ()
    from tunelang.source import Source
    from tunelang.syntax.parse import parse

    file, _ = parse(Source(str(recipe), recipe.read_text("utf-8")))
    return tuple(each.name.text for each in file.declarations() if each.kind.text == kind)


def _may_download(plan: Plan, store: Store, console: Console, *, yes: bool) -> bool:
    """Whether workers may reach the hub: asked on a terminal, else only with `--yes`."""
    from tunelang.launch.environment import asks_hub
    from tunelang.run.progress import say

    asking = [step for step in plan.steps if asks_hub(step) and not store.has(step.key)]
    if not asking or os.environ.get("HF_HUB_OFFLINE", "0") not in ("", "0"):
        return False
    if yes:
        return True
    named = ", ".join(f"`{step.name}`" for step in asking)
    if sys.stdin.isatty():
        return typer.confirm(f"{named} may download from the hub. Allow it?", default=True)
    say(console, f"{named} may use only what is downloaded already; `--yes` allows downloads")
    return False
