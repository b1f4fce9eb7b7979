"""One process: everything is its own, and nothing is sharded."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from torch import Tensor, nn

from tunelang.train.engines.engine import Unit
from tunelang.train.engines.stepped import Stepped

T = TypeVar("T")
WHOLE = "one process has no part of a checkpoint: checkpoint.py writes its tensors whole"


class Single(Stepped):
    """The engine of a step that one process runs."""

    name = "none"
    rank = 0
    world = 1

    def adopt(self, units: Sequence[Unit], frozen: Sequence[nn.Module] = ()) -> None:
        self.keep(units)

    def faults(self) -> list[str]:
        return []

    def compute(
        self, work: Callable[[], T], model: nn.Module | None = None, *, last: bool = True
    ) -> T:
        return work()

    def backward(self, unit: str, loss: Tensor, *, last: bool) -> None:
        loss.backward()  # type: ignore[no-untyped-call]

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
        raise ValueError(WHOLE)

    def restore(self, folder: Path) -> None:
        raise ValueError(WHOLE)

    def masters(self, unit: str) -> Mapping[str, Tensor]:
        return self.units[unit].named

    def wait(self) -> None:
        return None
