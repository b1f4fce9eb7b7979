"""A plan that is written names files from its recipe's folder: the same bytes wherever the command
was given, and places that can be found from anywhere."""

from __future__ import annotations

from os.path import relpath
from pathlib import Path

from tunelang.plan.ir import Gate, Plan


def portable(plan: Plan) -> Plan:
    """The plan with its recipe and its gates' places named so."""
    home = Path(plan.recipe).parent
    steps = [
        step.model_copy(update={"gates": [_from(gate, home) for gate in step.gates]})
        for step in plan.steps
    ]
    return plan.model_copy(update={"recipe": Path(plan.recipe).name, "steps": steps})


def _from(gate: Gate, home: Path) -> Gate:
    path, line, column = gate.place.rsplit(":", 2)
    place = f"{Path(relpath(path, home)).as_posix()}:{line}:{column}"
    return gate.model_copy(update={"place": place})
