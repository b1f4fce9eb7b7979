"""`tunelang store`: list, measure, verify and clean the finished objects."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from tunelang.run.store import Store

store = typer.Typer(
    help="List, verify and clean the store of finished stages.",
    rich_markup_mode=None,
    add_completion=False,
    no_args_is_help=True,
)
PREFIX = 12  # characters of a key that are shown; enough to tell objects apart


@store.command()
def ls() -> None:
    """List the finished objects, the newest last."""
    from rich.console import Console
    from rich.table import Table

    from tunelang.run.amounts import size

    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for heading in ("key", "stage", "method", "makes", "size", "made"):
        table.add_column(heading, justify="right" if heading == "size" else "left")
    opened = _open()
    manifests = [opened.manifest(key) for key in opened.keys()]  # noqa: SIM118 - no dict
    for manifest in sorted(manifests, key=lambda each: float(each["created"])):
        made = time.strftime("%Y-%m-%d %H:%M", time.localtime(manifest["created"]))
        bytes_ = sum(file["size"] for file in manifest["files"].values())
        told = (manifest.get("step", ""), manifest.get("method", ""), manifest.get("product", ""))
        table.add_row(manifest["key"][:PREFIX], *told, size(bytes_), made)
    Console(highlight=False).print(table)


@store.command()
def size() -> None:
    """Say how much disk objects, work under way and journals take."""
    from tunelang.run.amounts import size as amount

    home = _open().home
    for name in ("objects", "work", "runs"):
        typer.echo(f"{name:<8} {amount(_bytes(home / name)):>8}  {home / name}")


@store.command()
def verify(
    keys: Annotated[list[str] | None, typer.Argument(help="Beginnings of keys; else all.")] = None,
) -> None:
    """Compare every file with the hash in its manifest; exit 1 if one differs."""
    opened = _open()
    damaged = 0
    wanted = tuple(keys or [""])
    chosen = [key for key in opened.keys() if key.startswith(wanted)]  # noqa: SIM118 - no dict
    for key in chosen:
        problems = opened.verify(key)
        damaged += bool(problems)
        for problem in problems:
            typer.echo(f"{key[:PREFIX]}: {problem}")
    typer.echo(f"{len(chosen)} verified, {damaged} damaged")
    if damaged:
        typer.echo("`tunelang run` sets a damaged object aside and makes it again")
        raise typer.Exit(1)


@store.command()
def gc(
    recipes: Annotated[list[Path] | None, typer.Argument(help="What these need stays.")] = None,
    yes: Annotated[
        bool, typer.Option("--yes", help="Remove; else only say what would go.")
    ] = False,
) -> None:
    """Remove what no named recipe needs; without a recipe, only damaged and left-over folders."""
    from tunelang.run.amounts import size as amount

    opened = _open()
    doomed = leftovers(opened)
    if recipes:
        doomed += unneeded(opened, needed(opened, recipes))
    for folder in doomed:
        typer.echo(f"{'removed' if yes else 'would remove'} {folder} ({amount(_bytes(folder))})")
        if yes:
            shutil.rmtree(folder)
    typer.echo(f"{len(doomed)} folders" if yes or not doomed else "nothing removed; add `--yes`")


def leftovers(opened: Store) -> list[Path]:
    """Damaged objects set aside, and work whose object is finished."""
    work = sorted((opened.home / "work").glob("*"))
    finished = [folder for folder in work if opened.has(folder.name)]
    return sorted((opened.home / "objects").glob("bad-*")) + finished


def unneeded(opened: Store, kept: set[str]) -> list[Path]:
    """Objects and work outside `kept`; a step that is being made now stays."""
    keys = [key for key in opened.keys() if key not in kept]  # noqa: SIM118 - no dict
    work = sorted((opened.home / "work").glob("*"))
    idle = [folder for folder in work if folder.name not in kept and not _busy(opened, folder.name)]
    idle = [folder for folder in idle if not opened.has(folder.name)]  # else a leftover
    return [opened.object(key) for key in keys] + idle


def needed(opened: Store, recipes: Iterable[Path]) -> set[str]:
    """Keys of the recipes' steps under each of their profiles, and what those objects rest on."""
    from tunelang.cli.finished import end
    from tunelang.cli.planning import plan_recipe
    from tunelang.cli.run import profiles
    from tunelang.run.audit import rests_on

    waiting: list[str] = []
    for recipe in recipes:
        for profile in (None, *profiles(recipe)):
            plan, found = plan_recipe(recipe, profile, (), ())
            if plan is None:
                end(found)
            waiting += [step.key for step in plan.steps]
    kept: set[str] = set()
    while waiting:
        key = waiting.pop()
        if key not in kept:
            kept.add(key)
            waiting += rests_on(opened, key) if opened.has(key) else []
    return kept


def _busy(opened: Store, key: str) -> bool:
    from tunelang.run.lock import Busy

    try:
        with opened.lock(key):
            return False
    except Busy:
        return True


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _open() -> Store:
    from tunelang.run.store import Store, default_home

    return Store(default_home())
