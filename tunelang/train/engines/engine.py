"""What an engine is: it holds weights, computes, carries gradients together and steps.

Every process of a step runs the same code over the same rows in the same order, and an engine says
which part of them is its own. Losses are sums over the rows of all processes: gradients are added,
never averaged, so that one process and many do the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from torch import Tensor, nn
from torch.optim import Optimizer

T = TypeVar("T")


@dataclass(frozen=True)
class Unit:
    """What one optimizer trains.

    `modules` compute with the weights that train and with all that rest beside them; `named` are
    those that train; `make` builds their optimizer, once an engine has laid them out. Units may
    share modules: adapters of a policy and of its value model lie over one base.
    """

    name: str
    modules: Mapping[str, nn.Module]
    named: Mapping[str, Tensor]
    make: Callable[[Mapping[str, Tensor]], Optimizer]


class Engine(Protocol):
    """One process of a step that `world` processes share; `rank` 0 speaks and writes."""

    name: str
    rank: int
    world: int

    def adopt(self, units: Sequence[Unit], frozen: Sequence[nn.Module] = ()) -> None:
        """Lay out the weights of units, and of models that only compute; build the optimizers."""

    def faults(self) -> list[str]:
        """What of the layout is not as it was planned: no engine falls back in silence."""

    def optimizer(self, unit: str) -> Optimizer:
        """The optimizer of a unit: its `param_groups` take the learning rate."""

    def held(self, unit: str) -> Sequence[Tensor]:
        """The parts of a unit's trained weights that this process updates."""

    def compute(
        self, work: Callable[[], T], model: nn.Module | None = None, *, last: bool = True
    ) -> T:
        """Run `work`, which uses adopted modules; of several models only the one that is named, and
        a head that trains with it. Every process calls it the same number of times, with as many
        passes through the same layers. Where no backward follows it is called under
        `torch.no_grad`. `last`: the backward that follows ends an update; where that is not known,
        gradients may travel more often than they need to."""

    def backward(self, unit: str, loss: Tensor, *, last: bool) -> None:
        """Add the gradients of a loss; after the `last` micro-batch those of all are together."""

    def step(self, unit: str, most: float) -> float:
        """One update, gradients clipped to a norm of `most`; returns the norm before. Gradients
        are gone after it."""

    def whole(self, module: nn.Module) -> AbstractContextManager[Any]:
        """All weights of a module at hand on every process, to be called as it is, for sampling:
        processes may then run it unlike often."""

    def share(self, items: Sequence[T]) -> list[T]:
        """The items of this process, as many on every one: some come twice where they do not
        divide; see `counts`."""

    def counts(self, items: int) -> list[bool]:
        """For each of this process's share of so many items: is it this process that counts it?"""

    def together(self, mine: Sequence[T]) -> list[T]:
        """What all processes made of their shares, in the order of the items, each once."""

    def total(self, values: Sequence[float]) -> list[float]:
        """Sums of numbers over all processes."""

    def save(self, folder: Path) -> None:
        """Write weights and optimizers of all units into a folder, each process its own part."""

    def restore(self, folder: Path) -> None:
        """The inverse of `save`, bit for bit; needs as many processes."""

    def masters(self, unit: str) -> Mapping[str, Tensor]:
        """The trained weights of a unit, whole and as exact as they are held, by name. Every
        process calls it; only the first one needs what it gives."""

    def wait(self) -> None:
        """Return when every process has come here."""
