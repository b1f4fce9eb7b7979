"""`tunelang why`: where a value comes from, and why a stage will run or is reused."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tunelang.cli.finished import end, only_recipe
from tunelang.cli.planning import plan_recipe, settings, show_findings
from tunelang.diagnostic import Diagnostic, Severity, has_errors

if TYPE_CHECKING:
    from tunelang.plan.ir import Plan, Step
    from tunelang.recipe.overrides import Settings
    from tunelang.recipe.resolve import Resolved
    from tunelang.recipe.why import Ladder
    from tunelang.run.store import Store

COLUMNS = ("text", "place", "layer")


def why(
    what: Annotated[str, typer.Argument(help="A value (`policy.kl.target`), block or stage.")],
    recipe: Annotated[
        Path | None, typer.Argument(help="The recipe; else the only one here.")
    ] = None,
    profile: Annotated[str | None, typer.Option(help="A profile of the recipe.")] = None,
    set: Annotated[list[str] | None, typer.Option(help="PATH=VALUE laid over the recipe.")] = None,
    param: Annotated[list[str] | None, typer.Option(help="NAME=VALUE of a param.")] = None,
) -> None:
    """Say where a value comes from, or why a stage will run.

    Of a value: every layer that gives one, highest first, the method's default last. Of a stage:
    whether its result is in the store, and if not, what differs from the nearest one that is.
    """
    from tunelang.recipe.resolve import resolve

    path = recipe or only_recipe()
    chosen, found = settings(profile, set or (), param or ())
    resolved = resolve(path, chosen)
    found += [each for each in resolved.found if each.severity is Severity.ERROR]
    if resolved.recipe is None or has_errors(found):
        end(found)
    if what in resolved.recipe.stages:
        plan, problems = plan_recipe(path, profile, set or (), param or ())
        if plan is None:
            end(problems)
        sys.stdout.write("".join(f"{line}\n" for line in _of_stage(what, plan)))
        return
    sys.stdout.write("".join(f"{line}\n" for line in _of_value(what, resolved, chosen)))


def _of_value(what: str, resolved: Resolved, chosen: Settings) -> list[str]:
    from tunelang.recipe.why import why as ladders

    found = ladders(what, resolved, chosen)
    if isinstance(found, Diagnostic):
        show_findings([found])
        raise typer.Exit(1)
    return [line for each in dict.fromkeys(found) for line in _ladder(each)]


def _ladder(ladder: Ladder) -> Iterator[str]:
    """The value, then a line a rung."""
    yield f"{ladder.path} = {ladder.value}"
    widths = [max((len(getattr(r, name)) for r in ladder.rungs), default=0) for name in COLUMNS]
    for rung in ladder.rungs:
        cells = [getattr(rung, name).ljust(w) for name, w in zip(COLUMNS, widths, strict=True)]
        yield f"  {'   '.join(cells)}{'  <- used' if rung.used else ''}".rstrip()
    if not ladder.rungs:
        yield "  no layer sets it, and it has no default"


def _of_stage(name: str, plan: Plan) -> Iterator[str]:
    from tunelang.run.store import Store, default_home

    store = Store(default_home())
    step = next(each for each in plan.steps if each.name == name)
    if store.has(step.key):
        when = _date(float(store.manifest(step.key).get("created", 0.0)))
        yield f"`{name}` is reused: the store has what these values make since {when}"
        yield f"  {store.object(step.key)}"
        return
    yield from _why_it_runs(step, plan, store)


def _why_it_runs(step: Step, plan: Plan, store: Store) -> Iterator[str]:
    from tunelang.run.why import finished, nearest

    near = nearest(finished(store), step)
    if near is None:
        yield f"`{step.name}` will run: no `{step.method}` stage is in the store yet"
        return
    yield f"`{step.name}` will run: nothing in the store was made with these values"
    whose = f"`{near.step.name}` of {_date(near.created)}, {near.key[:12]}"
    yield f"the nearest is {whose}, which differs in"
    width = max((len(each.name) for each in near.changes), default=0)
    for each in near.changes:
        yield f"  {each.name:<{width}}  {each.old} → {each.new}"
    if not near.changes:
        yield "  nothing but how this version of TuneLang makes keys"
    for other in plan.steps:
        if other.name in step.after and not store.has(other.key):
            yield f"`{other.name}`, which it starts from, will run too: tunelang why {other.name}"


def _date(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))
