"""The machine that a stage names with `on`, else this one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

from tunelang.catalog import gpus
from tunelang.catalog.launchers import SCHEDULERS, STARTERS
from tunelang.estimate.calibration import Calibration
from tunelang.estimate.machine import Machine, machine_here
from tunelang.plan.ir import Submit
from tunelang.recipe.model import Choice, Declared, Recipe
from tunelang.units import Quantity

# Share of a usable memory that a named amount of memory leaves to tensors (planner.md: an 80 GB
# H100 offers about 78 GiB, of which the CUDA context takes about 1).
USABLE = 0.97

Starter = Literal["local", "torchrun", "deepspeed"]


def hardware_of(stage: Declared, recipe: Recipe) -> Declared | None:
    """The hardware declaration that a stage runs on, None where it names none."""
    ref = stage.get("on")
    return recipe.declared.get(ref.name) if ref else None


def machine_of(
    stage: Declared, recipe: Recipe, calibrations: Mapping[str, Calibration] | None = None
) -> Machine | None:
    """What the stage is planned for; None where its GPU is not in the catalogue."""
    hardware = hardware_of(stage, recipe)
    if hardware is None:
        found: Machine | None = machine_here()
    else:
        found = _gpus(hardware) if hardware.get("gpu") else _cpu(hardware)
    return _measured(found, calibrations or {}) if found else None


def _measured(machine: Machine, calibrations: Mapping[str, Calibration]) -> Machine:
    """With what was measured on a device of its kind."""
    device = machine.gpu.name if machine.gpu else "cpu"
    return replace(machine, calibration=calibrations.get(device))


def _cpu(hardware: Declared) -> Machine:
    """Processes of a CPU share its memory and its cores."""
    here, count = machine_here(), hardware.get("count")
    size = _bytes(hardware, "memory") or here.memory
    return Machine(
        kind="cpu",
        gpu=None,
        count=count,
        memory=size // count,
        usable=size // count,
        cores=max(1, (hardware.get("cores") or here.cores) // count),
        price=_price(hardware),
        bf16=here.bf16,
        nodes=hardware.get("nodes"),
        shardings=_shardings(hardware),
    )


def _gpus(hardware: Declared) -> Machine | None:
    gpu, memory = gpus.find(hardware.get("gpu")), _bytes(hardware, "memory")
    if gpu is None:
        return None
    usable = int(memory * USABLE) if memory else gpu.usable
    return Machine(
        kind="gpu",
        gpu=gpu,
        count=hardware.get("count"),
        memory=memory or gpu.memory,
        usable=min(usable, gpu.usable),
        cores=1,
        price=_price(hardware),
        bf16=gpu.bf16,
        nodes=hardware.get("nodes"),
        host=_bytes(hardware, "host_memory"),
        shardings=_shardings(hardware),
    )


def _bytes(hardware: Declared, field: str) -> int | None:
    given: Quantity | None = hardware.get(field)
    return int(given.amount) if given else None


def _price(hardware: Declared) -> float | None:
    price = hardware.get("price")
    return float(price.amount) if price else None


def _shardings(hardware: Declared) -> tuple[str, ...] | None:
    """What the launcher that the recipe names was made for; None: the plan chooses one."""
    starter = STARTERS.get(starter_of(hardware) or "")
    return starter.shardings if starter and starter.processes else None


def starter_of(hardware: Declared | None) -> Starter | None:
    """What the recipe wants processes started by, None where it leaves that to the plan."""
    launcher: Choice | None = hardware.get("launcher") if hardware else None
    if launcher is None or launcher.name not in STARTERS:
        return None
    return launcher.name  # type: ignore[return-value]


def submit_of(hardware: Declared | None) -> Submit | None:
    """The scheduler that the recipe names, with its options as plain JSON."""
    launcher: Choice | None = hardware.get("launcher") if hardware else None
    if launcher is None or launcher.name not in SCHEDULERS:
        return None
    options = {name: _plain(given.value) for name, given in launcher.values.items()}
    written = {name: value for name, value in options.items() if value is not None}
    return Submit(kind=launcher.name, options=written)


def _plain(value: object) -> object:
    """A quantity as its number in base units, text and flags as they are."""
    if isinstance(value, Quantity):
        return int(value.amount) if value.amount == int(value.amount) else value.amount
    return value if isinstance(value, bool | int | float) or value is None else str(value)
