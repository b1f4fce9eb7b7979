"""`tunelang check`: every mistake of several recipes under several profiles."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from tunelang.cli.parallel import of_each
from tunelang.cli.planning import settings
from tunelang.cli.rewrite import rewrite
from tunelang.diagnostic import Diagnostic, Severity, has_errors
from tunelang.output import OUTPUTS, coloured, render

ROUNDS = 10  # a fix may uncover the next mistake; none of ours takes more than three

# A second process costs 40 ms, and a recipe of 3,600 bytes takes about 15 (docs/benchmarks.md).
WORTH_A_PROCESS = 20_000


def check(
    paths: Annotated[list[Path], typer.Argument(help="Recipes, or folders that hold some.")],
    profile: Annotated[
        list[str] | None, typer.Option(help="Check under this profile; may repeat.")
    ] = None,
    set: Annotated[list[str] | None, typer.Option(help="PATH=VALUE laid over the recipe.")] = None,
    param: Annotated[list[str] | None, typer.Option(help="NAME=VALUE of a param.")] = None,
    output: Annotated[str, typer.Option(help=f"One of {', '.join(OUTPUTS)}.")] = "full",
    deny: Annotated[str | None, typer.Option(help="`warning`: warnings fail as errors do.")] = None,
    hints: Annotated[bool, typer.Option(help="Show, and with --fix mend, hints too.")] = False,
    fix: Annotated[
        bool, typer.Option("--fix", help="Apply safe fixes of what is shown: no key changes.")
    ] = False,
    locked: Annotated[
        bool, typer.Option("--locked", help="Hold the recipe to its lock: what moved is an error.")
    ] = False,
    unsafe: Annotated[bool, typer.Option("--unsafe", help="With --fix: apply every fix.")] = False,
    explain: Annotated[
        bool, typer.Option("--explain", help="Append the page of each rule that is found.")
    ] = False,
) -> None:
    """Find every mistake in recipes, without torch, network or GPU."""
    if output not in OUTPUTS:
        raise typer.BadParameter(f"{output} is not one of {', '.join(OUTPUTS)}")
    if explain and output not in ("full", "concise"):
        raise typer.BadParameter(f"--explain is for people; {output} is for programs")
    if deny not in (None, "warning"):
        raise typer.BadParameter(f"{deny} is not `warning`")
    recipes = recipes_of(paths)
    found: dict[Diagnostic, None] = {}
    each = partial(_findings, profiles=profile or (), sets=set or (), params=param or ())
    each = partial(_held, findings=each) if locked else each
    for recipe in recipes if fix else ():
        mend(recipe, partial(_shown, partial(each, recipe), hints=hints), unsafe=unsafe)
    for problems in of_each(recipes, each, WORTH_A_PROCESS):
        found |= dict.fromkeys(problems)
    shown = _shown(lambda: list(found), hints=hints)
    sys.stdout.write(render(output, shown, colour=coloured(sys.stdout)))
    if output == "full":
        sys.stdout.write(f"{summary(list(found), len(recipes))}\n")
    if explain:
        _explain(shown)
    if has_errors(found) or (
        deny == "warning" and any(each.severity is Severity.WARNING for each in found)
    ):
        raise typer.Exit(1)


def _shown(findings: Callable[[], list[Diagnostic]], *, hints: bool) -> list[Diagnostic]:
    """Hints are shown, and mended, where they are asked for."""
    return [each for each in findings() if hints or each.severity is not Severity.HINT]


def _explain(found: Sequence[Diagnostic]) -> None:
    """The pages of the rules, each once, in the order of the findings."""
    from tunelang.cli.rule import print_pages
    from tunelang.rules.pages import page

    wanted = [page(name) for name in dict.fromkeys(each.name for each in found)]
    there = [each for each in wanted if each]
    sys.stdout.write("\n" if there else "")
    print_pages(there)


def _findings(
    recipe: Path, *, profiles: Sequence[str], sets: Sequence[str], params: Sequence[str]
) -> list[Diagnostic]:
    """Under the profiles that were named, else under none and each of the recipe's own."""
    from tunelang.plan.findings import merged, of_every_profile, of_file

    chosen = [settings(name, sets, params) for name in profiles or (None,)]
    problems = [each for _, found in chosen for each in found]
    if not profiles:
        return problems + of_every_profile(recipe, chosen[0][0]).found
    return problems + merged([of_file(recipe, each).found for each, _ in chosen])


def _held(recipe: Path, findings: Callable[[Path], list[Diagnostic]]) -> list[Diagnostic]:
    from tunelang.plan.lock import held

    return held(recipe, findings(recipe))


def mend(recipe: Path, findings: Callable[[], list[Diagnostic]], *, unsafe: bool) -> int:
    """Apply fixes to the file until none is left; how many were applied, which is said."""
    from tunelang.recipe.load import read_source
    from tunelang.rules import fixes

    total = 0
    for _ in range(ROUNDS):
        source, _ = read_source(recipe, str(recipe))
        wanted = fixes.chosen(findings(), source, unsafe=unsafe) if source else []
        if source is None or not wanted:
            break
        text, count = fixes.apply(source, wanted)
        rewrite(recipe, text)
        total += count
    if total:
        sys.stderr.write(f"{recipe}: {_counted(total, 'fix')} applied\n".replace("fixs", "fixes"))
    return total


def recipes_of(paths: list[Path]) -> list[Path]:
    """Files as they are, folders as the .tune files below them."""
    found: list[Path] = []
    for path in paths:
        inside = sorted(path.rglob("*.tune")) if path.is_dir() else []
        found += inside or [path]
    return found


def summary(found: list[Diagnostic], files: int) -> str:
    """`2 errors and 1 warning in 1 recipe`."""
    counts = Counter(each.severity for each in found)
    parts = [
        _counted(counts[kind], kind)
        for kind in Severity
        if counts[kind] and kind is not Severity.HINT
    ]
    recipes = _counted(files, "recipe")
    return f"{' and '.join(parts)} in {recipes}" if parts else f"No mistakes in {recipes}."


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
