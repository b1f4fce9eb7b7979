"""Whole weights on every process, gradients added up: PyTorch's DistributedDataParallel.

Li et al. 2020, arXiv 2006.15704.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from tunelang.train.engines import shards
from tunelang.train.engines.body import Body, bodies
from tunelang.train.engines.engine import Unit
from tunelang.train.engines.group import Group
from tunelang.train.engines.stepped import Stepped

T = TypeVar("T")


class Ddp(Stepped, Group):
    """One DistributedDataParallel a unit.

    Units that share modules (adapters over one base) have none: its reducer waits for every weight
    it knows, and a loss of one unit reaches none of the other's. Their few gradients are added up
    after the last micro-batch.
    """

    name = "ddp"

    def __init__(self) -> None:
        super().__init__()
        self.wrapped: dict[str, DistributedDataParallel] = {}

    def adopt(self, units: Sequence[Unit], frozen: Sequence[nn.Module] = ()) -> None:
        self.bodies, named = bodies(units, ()), {unit.name: unit for unit in units}
        for body in self.bodies:
            if len(body.units) == 1:
                self.wrapped[body.units[0]] = wrap(body, named[body.units[0]])
        self.keep(units)

    def faults(self) -> list[str]:
        alone = [body.units[0] for body in self.bodies if len(body.units) == 1]
        bare = [one for one in alone if not isinstance(self.wrapped[one], DistributedDataParallel)]
        return [f"`{one}` is not in a DistributedDataParallel" for one in bare]

    def compute(
        self, work: Callable[[], T], model: nn.Module | None = None, *, last: bool = True
    ) -> T:
        wrapped = self._of(model)
        if wrapped is None or not torch.is_grad_enabled():
            return work()
        with nullcontext() if last else wrapped.no_sync():
            made: T = wrapped(work)
        return made

    def _of(self, model: nn.Module | None) -> DistributedDataParallel | None:
        """What wraps a model; a frozen one is in no body."""
        body = self.body_of(model)
        return self.wrapped.get(body.units[0]) if body else None

    def backward(self, unit: str, loss: Tensor, *, last: bool) -> None:
        if unit in self.wrapped:  # which divides by their number
            (loss * self.world).backward()  # type: ignore[no-untyped-call]
            return
        loss.backward()  # type: ignore[no-untyped-call]
        if last:
            self._add_up(list(self.units[unit].named.values()))

    def _add_up(self, weights: Sequence[Tensor]) -> None:
        """Gradients of all processes, added; a weight that none reached keeps none."""
        reached = self.total([float(weight.grad is not None) for weight in weights])
        found = [weight for weight, any in zip(weights, reached, strict=True) if any]
        for weight in found:
            if weight.grad is None:
                weight.grad = torch.zeros_like(weight)
        grads = [weight.grad for weight in found if weight.grad is not None]
        if grads:
            flat = torch.cat([grad.flatten() for grad in grads])
            dist.all_reduce(flat)
            parts = torch.split(flat, [grad.numel() for grad in grads])
            for grad, sums in zip(grads, parts, strict=True):
                grad.copy_(sums.view_as(grad))

    @contextmanager
    def whole(self, module: nn.Module) -> Iterator[Any]:
        yield module

    def save(self, folder: Path) -> None:
        if self.rank == 0:  # all hold the same
            shards.save(folder, 0, list(self.units.values()), self.optimizers)

    def restore(self, folder: Path) -> None:
        shards.restore(folder, 0, list(self.units.values()), self.optimizers)

    def masters(self, unit: str) -> Mapping[str, Tensor]:
        return self.units[unit].named


def wrap(body: Body, unit: Unit) -> DistributedDataParallel:
    """Only what the unit trains is watched. Not every loss reaches all of it: a reward reads no
    output layer."""
    ours = {id(weight) for weight in unit.named.values()}
    rest = [name for name, weight in body.named_parameters() if id(weight) not in ours]
    ignore: Callable[..., None] = (
        DistributedDataParallel._set_params_and_buffers_to_ignore_for_model
    )
    ignore(body, rest)
    return DistributedDataParallel(
        body, broadcast_buffers=False, find_unused_parameters=True, gradient_as_bucket_view=True
    )
