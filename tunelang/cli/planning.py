"""From a recipe's path to its findings and its plan: what check, plan, run and others share."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import typer

from tunelang.diagnostic import Diagnostic, Severity, error, has_errors
from tunelang.recipe.overrides import Settings
from tunelang.recipe.resolve import Resolved, resolve


@dataclass(frozen=True)
class Checked:
    """A resolved recipe with every finding of its rules."""

    resolved: Resolved
    found: list[Diagnostic]


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


def check_recipe(path: Path, chosen: Settings) -> Checked:
    """Resolve a recipe and apply every rule that needs no plan."""
    from tunelang.rules import check

    resolved = resolve(path, chosen)
    return Checked(resolved, check(resolved))


def plan_recipe(path: Path, profile: str | None, sets: Sequence[str], params: Sequence[str]):  # type: ignore[no-untyped-def]
    """The plan of a recipe and everything found on the way; no plan where there are errors.

    Returns `(Plan | None, list[Diagnostic])`.
    """
    chosen, found = settings(profile, sets, params)
    checked = check_recipe(path, chosen)
    found += checked.found
    if has_errors(found) or checked.resolved.recipe is None:
        return None, found
    from tunelang.plan.build import build

    plan, more = build(checked.resolved.recipe)
    found += more
    return (None if has_errors(more) else plan), found


def show_findings(found: Sequence[Diagnostic], *, hints: bool = False) -> None:
    """Print findings for people on stderr, hints only when asked for."""
    from tunelang.output.full import OUTPUT

    shown = [each for each in found if hints or each.severity is not Severity.HINT]
    if shown:
        sys.stderr.write(OUTPUT(shown, colour=sys.stderr.isatty()))


def leave(found: Sequence[Diagnostic]) -> None:
    """Exit 1 where there is an error."""
    if has_errors(found):
        raise typer.Exit(1)
