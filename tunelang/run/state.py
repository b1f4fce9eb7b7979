"""What the functions share while one plan is carried out, here or by a scheduler."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from tunelang.diagnostic import Diagnostic
from tunelang.launch.machine import Machine
from tunelang.launch.rendezvous import Node
from tunelang.plan.ir import Plan
from tunelang.run.interrupt import Interrupt
from tunelang.run.journal import Journal
from tunelang.run.progress import Display
from tunelang.run.store import Store


@dataclass(frozen=True)
class Settings:
    """`hub`: downloads are allowed. `profiles`: the recipe's, for advice. `module` runs steps.

    `only` is the one step to carry out, its inputs being in the store. `node` is this machine where
    several share steps.
    """

    hub: bool = False
    profiles: tuple[str, ...] = ()
    module: str = "tunelang.train"
    only: str | None = None
    node: Node | None = None


@dataclass(frozen=True)
class Run:
    """One plan on its way."""

    plan: Plan
    store: Store
    display: Display
    settings: Settings
    machine: Machine
    journal: Journal
    interrupt: Interrupt
    told: list[Diagnostic] = field(default_factory=list)


def run_name(plan: Plan) -> str:
    """The folder of a plan's journal: the recipe's name, and the profile's if one is chosen."""
    stem = Path(plan.recipe).stem
    return f"{stem}-{plan.profile}" if plan.profile else stem
