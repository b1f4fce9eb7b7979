"""One process: everything is its own, and nothing is sharded."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from torch import Tensor, nn
from torch.optim import Optimizer

from tunelang.train.engines.engine import Unit

T = TypeVar("T")


class Single:
    """The engine of a step that one process runs."""

    name = "none"
    rank = 0
    world = 1

    def __init__(self) -> None:
        self.units: dict[str, Unit] = {}
        self.optimizers: dict[str, Optimizer] = {}

    def adopt(self, units: Sequence[Unit], frozen: Sequence[nn.Module] = ()) -> None:
        self.units = {unit.name: unit for unit in units}
        self.optimizers = {unit.name: unit.make(unit.named) for unit in units}

    def faults(self) -> list[str]:
        return []

    def optimizer(self, unit: str) -> Optimizer:
        return self.optimizers[unit]

    def held(self, unit: str) -> Sequence[Tensor]:
        return list(self.units[unit].named.values())

    def compute(
        self, work: Callable[[], T], model: nn.Module | None = None, *, last: bool = True
    ) -> T:
        return work()

    def backward(self, unit: str, loss: Tensor, *, last: bool) -> None:
        loss.backward()  # type: ignore[no-untyped-call]

    def step(self, unit: str, most: float) -> float:
        norm = float(nn.utils.clip_grad_norm_(list(self.units[unit].named.values()), most))
        self.optimizers[unit].step()
        self.optimizers[unit].zero_grad(set_to_none=True)
        return norm

    @contextmanager
    def whole(self, module: nn.Module) -> Iterator[Any]:
        yield module

    def share(self, items: Sequence[T]) -> list[T]:
        return list(items)

    def counts(self, items: int) -> list[bool]:
        return [True] * items

    def together(self, mine: Sequence[T]) -> list[T]:
        return list(mine)

    def total(self, values: Sequence[float]) -> list[float]:
        return list(values)

    def save(self, folder: Path) -> None:
        raise NotImplementedError

    def restore(self, folder: Path) -> None:
        raise NotImplementedError

    def masters(self, unit: str) -> Mapping[str, Tensor]:
        return self.units[unit].named

    def wait(self) -> None:
        return None
