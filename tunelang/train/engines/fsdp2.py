"""Weights, gradients and optimizer states in shards: PyTorch's `fully_shard` (FSDP2).

Zhao et al. 2023, arXiv 2304.11277. Not through transformers' Trainer, which on a CPU makes it
DistributedDataParallel in silence. Every decoder layer is gathered for its own pass and let go;
what is outside of layers (embedding, last norm, output layer, heads) is the root's group, gathered
once a pass: a head may be read by its weight alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import (
    CPUOffloadPolicy,
    FSDPModule,
    MixedPrecisionPolicy,
    OffloadPolicy,
    fully_shard,
)
from torch.distributed.tensor import DTensor

from tunelang.plan.ir import Place
from tunelang.train.engines import shards
from tunelang.train.engines.body import bodies, relaid, spots
from tunelang.train.engines.engine import Unit
from tunelang.train.engines.group import Group
from tunelang.train.engines.stepped import Stepped

T = TypeVar("T")


class Fsdp2(Stepped, Group):
    """One root for every model; units that share modules share it."""

    name = "fsdp2"

    def __init__(self, place: Place, precision: str) -> None:
        super().__init__()
        self.place, self.precision = place, precision
        self.mesh: DeviceMesh = init_device_mesh(place.device, (self.world,))

    def adopt(self, units: Sequence[Unit], frozen: Sequence[nn.Module] = ()) -> None:
        self.bodies = bodies(units, frozen)
        where = spots(units, self.bodies)
        for body in self.bodies:
            shard(body, self.mesh, self.place, self.precision)
        self.keep(relaid(units, where))

    def faults(self) -> list[str]:
        found = []
        for body in self.bodies:
            bare = [one for one in (body, *layers(body)) if not isinstance(one, FSDPModule)]
            found += [f"{type(one).__name__} is not fully sharded" for one in bare]
            loose = [name for name, one in body.named_parameters() if not isinstance(one, DTensor)]
            found += [f"{name} is no DTensor" for name in loose]
        return found

    def compute(
        self, work: Callable[[], T], model: nn.Module | None = None, *, last: bool = True
    ) -> T:
        body = self._of(model)
        made: T = body(work)
        if not torch.is_grad_enabled():
            body.reshard()  # no backward comes that would: what is gathered would grow stale
        return made

    def _of(self, model: nn.Module | None) -> Any:
        """The root that holds a model, which `fully_shard` made an FSDPModule."""
        body = self.body_of(model)
        assert body is not None  # every model is adopted
        return body

    def backward(self, unit: str, loss: Tensor, *, last: bool) -> None:
        """Gradients are scattered after every micro-batch: whole ones would not fit."""
        loss.backward()  # type: ignore[no-untyped-call]

    def clip(self, unit: str, most: float) -> Tensor:
        norm = super().clip(unit, most)
        return norm.full_tensor() if isinstance(norm, DTensor) else norm

    @contextmanager
    def whole(self, module: nn.Module) -> Iterator[Any]:
        body = self._of(module)
        body(lambda: None)  # the root knows that it is one, whoever is called first
        groups = [one for one in body.modules() if isinstance(one, FSDPModule)]
        body.set_reshard_after_forward(False)
        for group in groups:
            group.unshard()
        try:
            yield module
        finally:
            for group in groups:
                group.reshard()
            body.set_reshard_after_forward(True)
            body.set_reshard_after_forward(False, recurse=False)

    def save(self, folder: Path) -> None:
        shards.save(folder, self.rank, list(self.units.values()), self.optimizers)

    def restore(self, folder: Path) -> None:
        shards.restore(folder, self.rank, list(self.units.values()), self.optimizers)

    def masters(self, unit: str) -> Mapping[str, Tensor]:
        return {name: gathered(value, self.rank) for name, value in self.units[unit].named.items()}


def shard(body: Any, mesh: DeviceMesh, place: Place, precision: str) -> None:
    """Layers from the lowest on, then the rest; gradients are summed, not averaged."""
    more: dict[str, Any] = {"mesh": mesh, "offload_policy": offload(place)}
    for layer in layers(body):
        fully_shard(layer, **more, mp_policy=policy(precision))
    fully_shard(body, **more, mp_policy=policy("fp32"), reshard_after_forward=False)
    for one in body.modules():
        if isinstance(one, FSDPModule):
            one.set_force_sum_reduction_for_comms(True)
            one.set_gradient_divide_factor(1.0)


def layers(body: nn.Module) -> list[nn.Module]:
    """The blocks that transformers says are not to be split, lowest first."""
    names = {
        name for module in body.modules() for name in getattr(module, "_no_split_modules", ()) or ()
    }
    plain = [(module, type(module).__name__.removeprefix("FSDP")) for module in body.modules()]
    return [module for module, name in plain if name in names]


def policy(precision: str) -> MixedPrecisionPolicy:
    """Layers are gathered in the precision of the step. The root's group stays as it is held:
    heads are read in fp32 (L13), and autocast multiplies the rest in bf16."""
    if precision == "fp32":
        return MixedPrecisionPolicy()
    return MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)


def offload(place: Place) -> OffloadPolicy:
    if place.offload == "none":
        return OffloadPolicy()
    return CPUOffloadPolicy(pin_memory=place.device == "cuda")


def gathered(value: Any, rank: int) -> Tensor:
    """The whole of a weight; only the first process keeps it."""
    whole: Tensor = value.detach().full_tensor()
    return whole.cpu() if rank == 0 else torch.empty(0)
