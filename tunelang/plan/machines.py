"""The machine that a stage names with `on`, else this one."""

from __future__ import annotations

from tunelang.catalog import gpus
from tunelang.estimate.machine import Machine, machine_here
from tunelang.recipe.model import Declared, Recipe

# Share of a usable memory that a named amount of memory leaves to tensors (planner.md: an 80 GB
# H100 offers about 78 GiB, of which the CUDA context takes about 1).
USABLE = 0.97


def hardware_of(stage: Declared, recipe: Recipe) -> Declared | None:
    """The hardware declaration that a stage runs on, None where it names none."""
    ref = stage.get("on")
    return recipe.declared.get(ref.name) if ref else None


def machine_of(stage: Declared, recipe: Recipe) -> Machine | None:
    """What the stage is planned for; None where its GPU is not in the catalogue."""
    hardware = hardware_of(stage, recipe)
    if hardware is None:
        return machine_here()
    return _gpus(hardware) if hardware.get("gpu") else _cpu(hardware)


def _cpu(hardware: Declared) -> Machine:
    here, memory = machine_here(), hardware.get("memory")
    size = int(memory.amount) if memory else here.memory
    return Machine(
        kind="cpu",
        gpu=None,
        count=1,
        memory=size,
        usable=size,
        cores=hardware.get("cores") or here.cores,
        price=_price(hardware),
        bf16=here.bf16,
    )


def _gpus(hardware: Declared) -> Machine | None:
    gpu, memory = gpus.find(hardware.get("gpu")), hardware.get("memory")
    if gpu is None:
        return None
    size = int(memory.amount) if memory else gpu.memory
    usable = int(size * USABLE) if memory else gpu.usable
    return Machine(
        kind="gpu",
        gpu=gpu,
        count=hardware.get("count"),
        memory=size,
        usable=min(usable, gpu.usable),
        cores=1,
        price=_price(hardware),
        bf16=gpu.bf16,
    )


def _price(hardware: Declared) -> float | None:
    price = hardware.get("price")
    return float(price.amount) if price else None
