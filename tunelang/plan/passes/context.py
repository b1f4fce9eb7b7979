"""What passes look at beside the plan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tunelang.diagnostic import Diagnostic
from tunelang.plan.models import Base
from tunelang.plan.schedule import Extent
from tunelang.recipe.model import Recipe


@dataclass(frozen=True)
class Context:
    """The recipe, its base models, how much data each stage has, and where findings go."""

    recipe: Recipe
    bases: Mapping[str, Base]
    extents: Mapping[str, Extent]
    found: list[Diagnostic]
