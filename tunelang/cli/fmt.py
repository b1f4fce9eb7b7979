"""`tunelang fmt`: recipes in the one house style."""

from __future__ import annotations

import difflib
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from tunelang.cli.parallel import of_each
from tunelang.cli.planning import leave, show_findings
from tunelang.cli.rewrite import rewrite
from tunelang.diagnostic import Diagnostic

# A second process costs 40 ms (importing what starts it is most of that), as much as formatting
# 35 kB; measured by benchmarks/cold.py, docs/benchmarks.md.
WORTH_A_PROCESS = 100_000


@dataclass(frozen=True)
class Formatted:
    """What became of one file; `diff` only where it was asked for."""

    path: Path
    problems: tuple[Diagnostic, ...]
    changed: bool = False
    diff: str = ""


def fmt(
    paths: Annotated[
        list[Path], typer.Argument(help="Recipes, folders that hold some, or - for stdin.")
    ],
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; exit 1 if a file would change.")
    ] = False,
    diff: Annotated[
        bool, typer.Option("--diff", help="Write nothing; print what would change.")
    ] = False,
) -> None:
    """Print recipes in the one house style."""
    from tunelang.cli.check import recipes_of

    if [str(path) for path in paths] == ["-"]:
        sys.stdout.write(_stdin())
        return
    each = partial(_formatted, write=not (check or diff), show=diff)
    done = of_each(recipes_of(paths), each, WORTH_A_PROCESS)
    sys.stdout.write("".join(one.diff for one in done))
    found = [problem for one in done for problem in one.problems]
    show_findings(found)
    changed = [one.path for one in done if one.changed]
    if not diff:
        verb = "would change" if check else "formatted"
        sys.stdout.write("".join(f"{verb} {path}\n" for path in changed))
    leave(found)
    if changed and (check or diff):
        raise typer.Exit(1)


def _stdin() -> str:
    from tunelang.recipe.load import decode
    from tunelang.syntax.editions import migrated
    from tunelang.syntax.format import format

    source, found = decode(sys.stdin.buffer.read(), "<stdin>")
    show_findings(found)
    leave(found)
    assert source is not None
    return format(migrated(source))


def _formatted(path: Path, *, write: bool, show: bool) -> Formatted:
    """One file; written aside and renamed, with its mode."""
    from tunelang.recipe.load import read_source
    from tunelang.syntax.editions import migrated
    from tunelang.syntax.format import format

    source, problems = read_source(path, str(path))
    if source is None:
        return Formatted(path, tuple(problems))
    text = format(migrated(source))
    if text == source.text:
        return Formatted(path, tuple(problems))
    if write:
        rewrite(path, text)
    diff = _diff(path, source.text, text) if show else ""
    return Formatted(path, tuple(problems), True, diff)


def _diff(path: Path, before: str, after: str) -> str:
    lines = difflib.unified_diff(
        before.splitlines(True), after.splitlines(True), str(path), f"{path} (formatted)"
    )
    return "".join(lines)
