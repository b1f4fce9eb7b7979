"""Rules: a resolved recipe becomes findings. One file per group, one function per rule."""

from __future__ import annotations

from tunelang import registry
from tunelang.diagnostic import Diagnostic
from tunelang.recipe.resolve import Resolved


def check(resolved: Resolved) -> list[Diagnostic]:
    """What every rule says of a recipe, after what resolution has said."""
    found = list(resolved.found)
    if resolved.recipe is None:
        return found
    for rules in registry.parts("rules", "RULES"):
        for rule in rules:
            found += rule(resolved)
    return list(dict.fromkeys(found))
