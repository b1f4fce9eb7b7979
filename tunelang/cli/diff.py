"""`tunelang diff`: two recipes compared by what they mean."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tunelang.cli.finished import end
from tunelang.cli.planning import settings
from tunelang.cli.revision import committed, is_revision
from tunelang.diagnostic import Diagnostic, Severity, has_errors

if TYPE_CHECKING:
    from tunelang.plan.findings import Findings
    from tunelang.plan.ir import Plan
    from tunelang.recipe.compare import Difference
    from tunelang.recipe.lock import Lock
    from tunelang.recipe.model import Recipe
    from tunelang.recipe.overrides import Settings


def diff(
    old: Annotated[str, typer.Argument(help="A recipe, or REV:PATH for one of a git commit.")],
    new: Annotated[str, typer.Argument(help="The recipe to compare it with, named likewise.")],
    profile: Annotated[str | None, typer.Option(help="A profile that both have.")] = None,
    set: Annotated[list[str] | None, typer.Option(help="PATH=VALUE laid over both.")] = None,
    param: Annotated[list[str] | None, typer.Option(help="NAME=VALUE of a param.")] = None,
    exit_code: Annotated[
        bool, typer.Option("--exit-code", help="Exit 1 if anything differs.")
    ] = False,
) -> None:
    """Say what changed between two recipes: values, and stages renamed, changed, reused.

    Comments, layout and order are no difference. REV:PATH takes the text of the recipe and its
    lock from git; what it imports and its data are read as they are in the working copy. Defaults
    of OLD are those of its lock, so comparing a recipe with itself shows what an upgrade changed.
    """
    chosen, found = settings(profile, set or (), param or ())
    if found:
        end(found)
    one, two = _side(old, chosen), _side(new, chosen)
    lines = _report(one, two)
    sys.stdout.write("".join(f"{line}\n" for line in lines or ["no differences"]))
    if exit_code and lines:
        raise typer.Exit(1)


@dataclass(frozen=True)
class _Read:
    """One of the two: what it means, its plan where it has one, its lock."""

    name: str
    recipe: Recipe
    plan: Plan | None
    lock: Lock | None


def _side(word: str, chosen: Settings) -> _Read:
    """Read and plan a recipe; its mistakes end the command."""
    from tunelang.plan.findings import of_file

    if is_revision(word):
        name, findings, lock = _from_git(word, chosen)
    else:
        name, findings, lock = word, of_file(Path(word), chosen), _lock_beside(Path(word))
    recipe = findings.resolved.recipe if findings.resolved else None
    wrong = [each for each in findings.found if each.severity is Severity.ERROR]
    if recipe is None or has_errors(findings.resolved.found if findings.resolved else wrong):
        end(wrong)
    return _Read(name, recipe, None if wrong else findings.plan, lock)


def _from_git(word: str, chosen: Settings) -> tuple[str, Findings, Lock | None]:
    from tunelang.plan.findings import of_source
    from tunelang.recipe import lock as locks
    from tunelang.recipe.load import decode

    file = committed(word)
    if isinstance(file, Diagnostic):
        end([file])
    source, found = decode(file.text, file.name)
    if source is None:
        end(found)
    try:
        lock = locks.parse(file.lock.decode()) if file.lock else None
    except ValueError:
        lock = None
    return file.name, of_source(source, file.path.parent, chosen), lock


def _lock_beside(path: Path) -> Lock | None:
    from tunelang.recipe import lock as locks

    try:
        return locks.read(locks.path_of(path))
    except locks.Unreadable:
        return None


def _report(old: _Read, new: _Read) -> list[str]:
    from tunelang.plan.diff import costs, stages
    from tunelang.recipe.compare import Side, compare

    before, after = Side(old.recipe, old.lock), Side(new.recipe)
    outdated = [
        name
        for name, stage in old.recipe.stages.items()
        if stage.method and before.version(stage.method) != stage.method.version
    ]
    if old.plan is None or new.plan is None:
        lacking = old.name if old.plan is None else new.name
        typer.echo(f"stages are not compared: {lacking} cannot be planned here", err=True)
        return list(_values(compare(before, after)))
    fates = stages(old.plan, new.plan, outdated)
    values = list(_values(compare(replace(before, renamed=fates.renamed), after)))
    if not values and not fates.moved:
        return []
    return [*values, *fates.lines(), *costs(old.plan, new.plan)]


def _values(differences: list[Difference]) -> Iterator[str]:
    """A line a declaration, and one below it for each of its values."""
    for each in differences:
        yield _head(each)
        for change in each.changes:
            note = f" ({change.note})" if change.note else ""
            yield f"  {change.path}: {change.old} → {change.new}{note}"


def _head(difference: Difference) -> str:
    kind, old, new = difference.kind, difference.old, difference.new
    if old == new:
        return f"{kind} {new}".strip()
    if old and new:
        return f"{kind} {old} → {new}"
    return f"{kind} {new}: added" if new else f"{kind} {old}: removed"
