"""What passes look at beside the plan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tunelang.diagnostic import Diagnostic
from tunelang.estimate.calibration import Calibration
from tunelang.estimate.machine import Machine
from tunelang.estimate.work import Work
from tunelang.plan.models import Base
from tunelang.plan.schedule import Extent
from tunelang.recipe.model import Recipe


@dataclass(frozen=True)
class Context:
    """The recipe, its base models, how much data each stage has, and where findings go.

    `calibrations` are by device (a GPU's name in the catalogue, `cpu`). `works` takes, by step,
    what was fitted and for which machine: `plan --explain` asks for the ladder of it.
    """

    recipe: Recipe
    bases: Mapping[str, Base]
    extents: Mapping[str, Extent]
    found: list[Diagnostic]
    calibrations: Mapping[str, Calibration] = field(default_factory=dict)
    works: dict[str, tuple[Work, Machine]] = field(default_factory=dict)
