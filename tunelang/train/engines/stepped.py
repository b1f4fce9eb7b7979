"""Units whose optimizers are torch's own: what one process, DDP and FSDP2 do alike."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.optim import Optimizer

from tunelang.train.engines.engine import Unit


class Stepped:
    """The units that an engine adopted, and their optimizers."""

    def __init__(self) -> None:
        super().__init__()
        self.units: dict[str, Unit] = {}
        self.optimizers: dict[str, Optimizer] = {}

    def keep(self, units: Sequence[Unit]) -> None:
        """Units as an engine has laid them out."""
        self.units = {unit.name: unit for unit in units}
        self.optimizers = {unit.name: unit.make(unit.named) for unit in units}

    def optimizer(self, unit: str) -> Optimizer:
        return self.optimizers[unit]

    def held(self, unit: str) -> Sequence[Tensor]:
        return list(self.units[unit].named.values())

    def step(self, unit: str, most: float) -> float:
        norm = float(self.clip(unit, most))
        self.optimizers[unit].step()
        self.optimizers[unit].zero_grad(set_to_none=True)
        return norm

    def clip(self, unit: str, most: float) -> Tensor:
        """Clip a unit's gradients; their norm before."""
        return nn.utils.clip_grad_norm_(self.held(unit), most)
