"""From a recipe's path to its findings and its plan: what check, plan, run and others share."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from tunelang.diagnostic import Diagnostic, Severity, error, has_errors
from tunelang.recipe.overrides import Settings

if TYPE_CHECKING:
    from tunelang.plan.findings import Findings
    from tunelang.plan.ir import Plan


def pairs(options: Iterable[str], name: str) -> tuple[dict[str, str], list[Diagnostic]]:
    """`PATH=VALUE` options as a dict."""
    values: dict[str, str] = {}
    found = []
    for option in options:
        key, equals, value = option.partition("=")
        if not (equals and key.strip() and value.strip()):
            found.append(
                error(
                    "TL006",
                    "missing-value",
                    f"`{name} {option}` has no value",
                    None,
                    help=f"write `{name} NAME=VALUE`",
                )
            )
        else:
            values[key.strip()] = value.strip()
    return values, found


def settings(
    profile: str | None, sets: Iterable[str], params: Iterable[str]
) -> tuple[Settings, list[Diagnostic]]:
    set_values, found = pairs(sets, "--set")
    param_values, more = pairs(params, "--param")
    return Settings(profile, set_values, param_values), found + more


def plan_recipe(
    path: Path, profile: str | None, sets: Sequence[str], params: Sequence[str]
) -> tuple[Plan | None, list[Diagnostic]]:
    """The plan of a recipe and everything found on the way; no plan where there are errors."""
    checked, found = planned(path, profile, sets, params)
    return (None if has_errors(found) else checked.plan), found


def planned(
    path: Path, profile: str | None, sets: Sequence[str], params: Sequence[str]
) -> tuple[Findings, list[Diagnostic]]:
    """As `plan_recipe`, with what the recipe means and what its steps were fitted for.

    A plan that has errors is there to be looked at; nothing may carry it out.
    """
    from tunelang.plan.findings import of_file
    from tunelang.run.calibrations import known
    from tunelang.run.store import default_home

    chosen, found = settings(profile, sets, params)
    checked = of_file(path, chosen, known(default_home()))
    found += checked.found
    if checked.plan is None or has_errors(found):
        return checked, [_needed(each) for each in found]
    return checked, found


def _needed(found: Diagnostic) -> Diagnostic:
    """Rows that nobody counted are a warning to `check`; a plan cannot do without them."""
    return replace(found, severity=Severity.ERROR) if found.code == "TL323" else found


def show_findings(found: Sequence[Diagnostic], *, hints: bool = False) -> None:
    """Print findings for people on stderr, hints only when asked for."""
    from tunelang.output import coloured
    from tunelang.output.full import OUTPUT

    shown = [each for each in found if hints or each.severity is not Severity.HINT]
    if shown:
        sys.stderr.write(OUTPUT(shown, colour=coloured(sys.stderr)))


def leave(found: Sequence[Diagnostic]) -> None:
    """Exit 1 where there is an error."""
    if has_errors(found):
        raise typer.Exit(1)
