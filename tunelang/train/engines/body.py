"""Modules that compute together, under one root that an engine can wrap."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from torch import Tensor, nn

from tunelang.train.engines.engine import Unit

T = TypeVar("T")


class Body(nn.Module):
    """What runs in it runs inside one forward pass of it: an engine's hooks see the whole.

    A closure, and not a batch, goes in: the decoder and the output layer are called apart, on
    other positions, and no module's own forward does that.
    """

    def __init__(self, modules: Mapping[str, nn.Module], units: Sequence[str]) -> None:
        super().__init__()
        self.inner = nn.ModuleDict(modules)
        self.units = tuple(units)

    def forward(self, work: Callable[[], T]) -> T:
        return work()

    def holds(self, module: nn.Module) -> bool:
        return any(module is one for one in self.modules())


@dataclass(frozen=True)
class Spot:
    """Where a weight sits: sharding puts another tensor there."""

    module: nn.Module
    name: str

    @property
    def weight(self) -> Tensor:
        """The weight that is there now."""
        found = self.module._parameters[self.name]
        assert found is not None
        return found


def bodies(units: Sequence[Unit], frozen: Sequence[nn.Module]) -> list[Body]:
    """One body for units that share modules, one for each frozen model."""
    made: list[tuple[dict[str, nn.Module], list[str]]] = []
    for unit in units:
        known = {id(module) for module in unit.modules.values()}
        same = [one for one in made if any(id(module) in known for module in one[0].values())]
        modules, names = same[0] if same else ({}, [])
        held = {id(module) for module in modules.values()}
        modules |= {
            f"{unit.name}_{name}" if name in modules else name: module
            for name, module in unit.modules.items()
            if id(module) not in held
        }
        names.append(unit.name)
        if not same:
            made.append((modules, names))
    found = [Body(modules, names) for modules, names in made]
    resting = [model for model in frozen if not any(body.holds(model) for body in found)]
    return found + [Body({"frozen": model}, ()) for model in resting]


def spots(units: Sequence[Unit], roots: Iterable[nn.Module]) -> dict[str, dict[str, Spot]]:
    """Where the trained weights of every unit sit, by unit and name."""
    found = {
        id(weight): Spot(module, name)
        for root in roots
        for module in root.modules()
        for name, weight in module._parameters.items()
        if weight is not None
    }
    return {
        unit.name: {name: found[id(weight)] for name, weight in unit.named.items()}
        for unit in units
    }


def relaid(units: Sequence[Unit], where: Mapping[str, Mapping[str, Spot]]) -> list[Unit]:
    """The units with the weights that now are where theirs were."""
    return [
        replace(unit, named={name: spot.weight for name, spot in where[unit.name].items()})
        for unit in units
    ]


def local(value: Any) -> Tensor:
    """The part of a weight that this process holds: itself, or its shard."""
    if hasattr(value, "ds_tensor"):  # of DeepSpeed's third stage
        shard: Tensor = value.ds_tensor.data
        return shard
    if hasattr(value, "to_local"):
        value = value.to_local()
    whole: Tensor = value
    return whole
