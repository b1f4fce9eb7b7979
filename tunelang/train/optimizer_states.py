"""The state of optimizers as tensors and plain JSON, and back: never a pickle.

Of weights that are sharded (DTensor) only the part of this process is taken and put back.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer


def taken(optimizers: Mapping[str, Optimizer]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors (`optimizer/parameter/value`), and what else there is."""
    tensors: dict[str, Tensor] = {}
    plain: dict[str, Any] = {}
    for prefix, optimizer in optimizers.items():
        held = optimizer.state_dict()
        rest: dict[str, dict[str, Any]] = {}
        for index, values in held["state"].items():
            for name, value in values.items():
                if isinstance(value, torch.Tensor):
                    tensors[f"{prefix}/{index}/{name}"] = local(value)
                else:
                    rest.setdefault(str(index), {})[name] = value
        plain[prefix] = {"state": rest, "param_groups": held["param_groups"]}
    return tensors, plain


def put(
    optimizers: Mapping[str, Optimizer], tensors: Mapping[str, Tensor], plain: Mapping[str, Any]
) -> None:
    """The inverse of `taken`."""
    states: dict[str, dict[int, dict[str, Any]]] = {name: {} for name in optimizers}
    weights = {name: params(optimizer) for name, optimizer in optimizers.items()}
    for path, tensor in tensors.items():
        prefix, index, name = path.split("/")
        value = like(weights[prefix][int(index)], tensor)
        states[prefix].setdefault(int(index), {})[name] = value
    for prefix, optimizer in optimizers.items():
        for index, values in plain[prefix]["state"].items():
            states[prefix].setdefault(int(index), {}).update(values)
        groups = plain[prefix]["param_groups"]
        optimizer.load_state_dict({"state": states[prefix], "param_groups": groups})


def params(optimizer: Optimizer) -> list[Tensor]:
    """Weights in the order in which states are numbered."""
    return [weight for group in optimizer.param_groups for weight in group["params"]]


def local(value: Any) -> Tensor:
    """The part of a tensor that this process holds."""
    found: Tensor = value.to_local() if hasattr(value, "to_local") else value
    return found


def like(weight: Any, value: Tensor) -> Tensor:
    """A local part as a tensor that is sharded as the weight is; counts of steps are not."""
    if not hasattr(weight, "to_local") or value.shape != weight.to_local().shape:
        return value
    from torch.distributed.tensor import DTensor

    sharded: Tensor = DTensor.from_local(
        value.to(weight.to_local().device),
        weight.device_mesh,
        weight.placements,
        run_check=False,
        shape=weight.shape,
        stride=weight.stride(),
    )
    return sharded
