"""What one process holds of a unit, written and read back: weights, optimizers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.optim import Optimizer

from tunelang.run.store import write_atomic
from tunelang.train import optimizer_states
from tunelang.train.checkpoint import write_tensors
from tunelang.train.engines.engine import Unit
from tunelang.train.optimizer_states import local


def save(
    folder: Path, rank: int, units: Sequence[Unit], optimizers: Mapping[str, Optimizer]
) -> None:
    """Three files with the process's number."""
    tensors, plain = optimizer_states.taken(optimizers)
    write_tensors(folder / f"weights-{rank}.safetensors", held(units))
    write_tensors(folder / f"optimizer-{rank}.safetensors", tensors)
    write_atomic(folder / f"optimizer-{rank}.json", json.dumps(plain).encode())


def restore(
    folder: Path, rank: int, units: Sequence[Unit], optimizers: Mapping[str, Optimizer]
) -> None:
    """The inverse of `save`, bit for bit."""
    weights = load_file(folder / f"weights-{rank}.safetensors")
    ours = held(units)
    if weights.keys() != ours.keys():
        msg = f"{folder} holds other weights than this step trains"
        raise ValueError(msg)
    with torch.no_grad():
        for name, weight in ours.items():
            weight.copy_(weights[name])
    tensors = load_file(folder / f"optimizer-{rank}.safetensors")
    plain = json.loads((folder / f"optimizer-{rank}.json").read_text("utf-8"))
    optimizer_states.put(optimizers, tensors, plain)


def held(units: Sequence[Unit]) -> dict[str, Tensor]:
    """The parts of the trained weights that are here, as `unit.name`."""
    return {
        f"{unit.name}.{name}": local(weight.detach())
        for unit in units
        for name, weight in unit.named.items()
    }
