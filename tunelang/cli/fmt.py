"""`tunelang fmt`: recipes in the one house style."""

from __future__ import annotations

import difflib
import sys
from pathlib import Path
from typing import Annotated

import typer

from tunelang.cli.planning import leave, show_findings
from tunelang.cli.rewrite import rewrite
from tunelang.diagnostic import Diagnostic


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
    found: list[Diagnostic] = []
    changed = [
        path
        for path in recipes_of(paths)
        if _file(path, found, write=not (check or diff), show=diff)
    ]
    show_findings(found)
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


def _file(path: Path, found: list[Diagnostic], *, write: bool, show: bool) -> bool:
    """Whether a file changes; written aside and renamed, with its mode."""
    from tunelang.recipe.load import read_source
    from tunelang.syntax.editions import migrated
    from tunelang.syntax.format import format

    source, problems = read_source(path, str(path))
    found += problems
    if source is None:
        return False
    text = format(migrated(source))
    if text == source.text:
        return False
    if show:
        lines = difflib.unified_diff(
            source.text.splitlines(True), text.splitlines(True), str(path), f"{path} (formatted)"
        )
        sys.stdout.writelines(lines)
    if write:
        rewrite(path, text)
    return True
