"""Everything found in one recipe, by its text, its rules and its plan, less what is allowed.

`tunelang check`, the editor and the tests of the rules ask here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tunelang.diagnostic import Diagnostic, has_errors
from tunelang.recipe.load import load, load_source
from tunelang.recipe.names import Scope
from tunelang.recipe.overrides import Settings
from tunelang.recipe.resolve import Resolved, resolve_scope
from tunelang.rules import check
from tunelang.rules.allow import allowed
from tunelang.source import Source

if TYPE_CHECKING:
    from tunelang.estimate.calibration import Calibration
    from tunelang.estimate.machine import Machine
    from tunelang.estimate.work import Work
    from tunelang.plan.ir import Plan


@dataclass(frozen=True)
class Findings:
    """What was found; `resolved` and `plan` are as far as the recipe is sound.

    `works` are what steps were fitted for, and on which machine.
    """

    found: list[Diagnostic]
    resolved: Resolved | None = None
    plan: Plan | None = None
    works: Mapping[str, tuple[Work, Machine]] = field(default_factory=dict)


def of_file(
    path: Path,
    settings: Settings | None = None,
    calibrations: Mapping[str, Calibration] | None = None,
) -> Findings:
    """Check and plan a recipe file under one profile, with what was measured on devices."""
    scope, found = load(path)
    if scope is None:
        return Findings(found)
    return _planned(scope, found, settings or Settings(), calibrations)


def of_every_profile(path: Path, settings: Settings | None = None) -> Findings:
    """As `of_file`, and what is wrong under any profile that the recipe has."""
    scope, found = load(path)
    return _every(scope, found, settings or Settings()) if scope else Findings(found)


def _every(scope: Scope, found: list[Diagnostic], settings: Settings) -> Findings:
    """The text is read once, and settled and planned for each profile."""
    base = _planned(scope, found, settings)
    names = [each.name.text for each in scope.file.declarations() if each.kind.text == "profile"]
    others = [_planned(scope, found, replace(settings, profile=name)).found for name in names]
    return Findings(merged([base.found, *others]), base.resolved, base.plan)


def merged(every: list[list[Diagnostic]]) -> list[Diagnostic]:
    """Each finding once; a comment is unused only where it is unused under every profile."""
    unused = set.intersection(*({f for f in found if f.code == "TS06"} for found in every))
    found = dict.fromkeys(each for found in every for each in found)
    return [each for each in found if each.code != "TS06" or each in unused]


def of_text(source: Source, folder: Path, settings: Settings | None = None) -> Findings:
    """As `of_every_profile`, for text that is already here: an editor's buffer, stdin."""
    scope, found = load_source(source, folder)
    return _every(scope, found, settings or Settings())


def of_scope(scope: Scope, found: list[Diagnostic]) -> Findings:
    """As `of_text`, for a text that has been read; `found` is what reading it found."""
    return _every(scope, found, Settings())


def of_source(source: Source, folder: Path, settings: Settings) -> Findings:
    """As `of_file`, for a text that is not on disk: a file of another commit."""
    scope, found = load_source(source, folder)
    return _planned(scope, found, settings)


def _planned(
    scope: Scope,
    text: list[Diagnostic],
    settings: Settings,
    calibrations: Mapping[str, Calibration] | None = None,
) -> Findings:
    """`text` is what reading found; each settling starts from it."""
    resolved = resolve_scope(scope, list(text), settings)
    found = check(resolved)
    plan, works = None, dict[str, "tuple[Work, Machine]"]()
    if resolved.recipe is not None and not has_errors(found):
        from tunelang.plan.build import build  # pydantic is not needed to say what is misspelt

        plan, more = build(resolved.recipe, calibrations, works)
        found += more
    return Findings(allowed(resolved, found), resolved, plan, works)
