"""`tunelang plan`: what would run, on one screen, as JSON, or as a folder that runs by itself."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tunelang.cli.planning import leave, planned, show_findings
from tunelang.diagnostic import Diagnostic, error, has_errors

if TYPE_CHECKING:
    from tunelang.plan.findings import Findings
    from tunelang.plan.ir import Plan
    from tunelang.plan.show import State

WIDEST = 100  # columns; wider lines are harder to read, and nothing is gained


def plan(
    recipe: Annotated[Path, typer.Argument(help="The recipe.")],
    profile: Annotated[str | None, typer.Option(help="A profile of the recipe.")] = None,
    set: Annotated[list[str] | None, typer.Option(help="PATH=VALUE laid over the recipe.")] = None,
    param: Annotated[list[str] | None, typer.Option(help="NAME=VALUE of a param.")] = None,
    explain: Annotated[
        list[str] | None,
        typer.Option(help="Say why a stage runs as it does, and where its memory goes."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the whole plan as JSON.")] = False,
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", help="Write a folder that holds all it takes to run the plan."),
    ] = None,
    exit_code: Annotated[
        bool, typer.Option("--exit-code", help="Exit 2 if something would run.")
    ] = False,
) -> None:
    """Say what would run: steps, memory, time, cost, and what is reused.

    A plan that does not fit, or is over its budget, is shown all the same; it cannot be written.
    """
    checked, found = planned(recipe, profile, set or (), param or ())
    if checked.plan is None or (has_errors(found) and (json or out)):
        show_findings(found)
        leave(found)
        return
    made, told = checked.plan, states(checked.plan)
    _tell(checked, told, explain or (), json)
    if out:
        _write(made, out)
        sys.stderr.write(f"wrote {out}; `tunelang run {_word(out)}` carries it out\n")
    sys.stdout.flush()
    show_findings(found)
    leave(found)
    if exit_code and any(not each.reused for each in told.values()):
        raise typer.Exit(2)


def _tell(checked: Findings, told: dict[str, State], stages: Sequence[str], json: bool) -> None:
    """The plan on stdout, in the form that was asked for."""
    from tunelang.output import coloured

    assert checked.plan
    if json:
        from tunelang.plan.portable import portable

        sys.stdout.write(portable(checked.plan).model_dump_json(indent=2) + "\n")
        return
    colour = coloured(sys.stdout)
    if stages:
        _explain(checked, stages, colour)
        return
    from tunelang.plan.show import show

    sys.stdout.write(show(checked.plan, told, width=_width(), colour=colour))


def _width() -> int:
    """Columns of the terminal; WIDEST where there is none, so that files are the same anywhere."""
    if not sys.stdout.isatty():
        return WIDEST
    return min(WIDEST, shutil.get_terminal_size((WIDEST, 24)).columns)


def _explain(checked: Findings, stages: Sequence[str], colour: bool) -> None:
    """Each stage in full; names that no stage has are found before any is shown."""
    from tunelang.estimate.ladder import excluded, ladder
    from tunelang.plan.explain import explain

    assert checked.plan
    steps = {step.name: step for step in checked.plan.steps}
    unknown = [_unknown(name, list(steps)) for name in stages if name not in steps]
    show_findings(unknown)
    leave(unknown)
    for number, name in enumerate(dict.fromkeys(stages)):
        work = checked.works.get(name)
        tried, without = (ladder(*work), excluded(*work)) if work else ([], [])
        sys.stdout.write("\n" if number else "")
        sys.stdout.write(explain(steps[name], tried, without, width=_width(), colour=colour))


def _unknown(name: str, known: list[str]) -> Diagnostic:
    from tunelang.recipe.names import nearest

    guess = nearest(name, known)
    help = f"did you mean `{guess}`?" if guess else f"its stages are {', '.join(known)}"
    return error("TL101", "unknown-name", f"the plan has no stage `{name}`", None, help=help)


def states(made: Plan) -> dict[str, State]:
    """Of every step: whether the store holds its result, and if not, the one reason why it runs."""
    from tunelang.plan.show import State
    from tunelang.run.store import Store, default_home
    from tunelang.run.why import finished, reason

    store = Store(default_home())
    running = [step.name for step in made.steps if not store.has(step.key)]
    known = finished(store) if running else []
    return {
        step.name: State(False, reason(known, step, running))
        if step.name in running
        else State(True)
        for step in made.steps
    }


def _write(made: Plan, folder: Path) -> None:
    """The plan's folder; where it cannot be written, that is a finding."""
    try:
        _files(made, folder)
    except OSError as problem:
        message = f"`{folder}` cannot be written: {problem.strerror}"
        show_findings([error("TL012", "unreadable-file", message, None)])
        raise typer.Exit(1) from None


def _word(folder: Path) -> str:
    """As a shell takes it for one word, and no command for an option."""
    from shlex import quote

    name = str(folder)
    return quote(f"./{name}" if name.startswith("-") else name)


def _files(made: Plan, folder: Path) -> None:
    """Each written aside and renamed; scripts can be executed."""
    from tunelang.launch.folder import files as launch_files
    from tunelang.plan.folder import files, stale
    from tunelang.plan.portable import portable
    from tunelang.run.store import write_atomic

    made = portable(made)
    texts = files(made, launch_files(made))
    for path in stale(folder, texts):
        path.unlink()
    for name, text in texts.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, text.encode())
        if path.suffix == ".sh":
            path.chmod(0o755)
