"""Rules: a resolved recipe becomes findings. One file per group, one function per rule."""

from __future__ import annotations

from tunelang import registry
from tunelang.diagnostic import Diagnostic, Severity, has_errors
from tunelang.recipe.resolve import Resolved


def check(resolved: Resolved) -> list[Diagnostic]:
    """What every rule says of a recipe, after what resolution has said."""
    found = list(resolved.found)
    if resolved.recipe is None:
        return found
    broken = has_errors(found)
    for rules in registry.parts("rules", "RULES"):
        for rule in rules:
            # After errors a warning is as likely their echo as a finding of its own.
            found += [f for f in rule(resolved) if f.severity is Severity.ERROR or not broken]
    return list(dict.fromkeys(found))
