"""Optimizer states, gradients, then weights in shards: DeepSpeed's ZeRO stages 1 to 3.

Rajbhandari et al. 2019, arXiv 1910.02054. In bf16 the weights that compute are bf16 and their
optimizer holds fp32 masters; what is kept of a step is the masters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import deepspeed
import torch
from deepspeed.utils import safe_get_full_fp32_param
from torch import Tensor, nn
from torch.optim import Optimizer

from tunelang.plan import engine_config
from tunelang.plan.ir import Step
from tunelang.run.store import sync_tree
from tunelang.train import forward
from tunelang.train.engines.body import Body, bodies
from tunelang.train.engines.engine import Unit
from tunelang.train.engines.group import Group
from tunelang.train.model import cast

T = TypeVar("T")
CLASSES = {  # deepspeed/runtime/engine.py, _configure_zero_optimizer
    1: "DeepSpeedZeroOptimizer",
    2: "DeepSpeedZeroOptimizer",
    3: "DeepSpeedZeroOptimizer_Stage3",
}


class Zero(Group):
    """One DeepSpeed engine a unit."""

    def __init__(self, step: Step) -> None:
        super().__init__()
        self.name: str = step.place.sharding
        self.stage = engine_config.zero_stage(step.place)
        self.config = engine_config.deepspeed_config(step)
        self.units: dict[str, Unit] = {}
        self.engines: dict[str, Any] = {}
        self.resting: list[Any] = []
        deepspeed.init_distributed(auto_mpi_discovery=False, dist_init_required=False)

    def adopt(self, units: Sequence[Unit], frozen: Sequence[nn.Module] = ()) -> None:
        self.units = {unit.name: unit for unit in units}
        self.bodies = bodies(units, frozen)
        for body in self.bodies:
            if len(body.units) > 1:
                msg = f"{self.name} has one optimizer for all weights of a model"
                raise ValueError(msg)
            if body.units:
                self.engines[body.units[0]] = self._trained(body, self.units[body.units[0]])
            elif self.stage == 3:
                self.resting.append(self._resting(body))

    def _trained(self, body: Body, unit: Unit) -> Any:
        optimizer = unit.make(unit.named)  # before weights are cut: matrices decay, vectors do not
        if self.stage == 3:
            if self.config["bf16"]["enabled"]:  # which DeepSpeed leaves to who made the weights
                cast(body, "bf16")
            deepspeed.zero.Init(module=body, config_dict_or_path=self.config)
        engine, *_ = deepspeed.initialize(model=body, optimizer=optimizer, config=self.config)
        if self.stage == 3:
            keep(engine, heads(body))
        return engine

    def _resting(self, body: Body) -> Any:
        deepspeed.zero.Init(module=body, config_dict_or_path=self.config)
        return deepspeed.initialize(model=body, config=self.config)[0]

    def faults(self) -> list[str]:
        found = []
        for name, engine in self.engines.items():
            kind = type(engine.optimizer).__name__
            if kind != CLASSES[self.stage]:
                found.append(f"`{name}` has a {kind}")
            types = {one.dtype for one in engine.parameters() if one.requires_grad}
            if types != {torch.bfloat16 if self.config["bf16"]["enabled"] else torch.float32}:
                found.append(f"`{name}` is held as {types}")
            if engine.zero_optimization_stage() != self.stage:
                found.append(f"`{name}` is in stage {engine.zero_optimization_stage()}")
            if engine.dp_world_size != self.world:
                found.append(f"`{name}` is shared by {engine.dp_world_size}")
            if self.stage == 3 and not all(hasattr(one, "ds_id") for one in engine.parameters()):
                found.append(f"weights of `{name}` are whole")
        return found

    def optimizer(self, unit: str) -> Optimizer:
        """DeepSpeed's, whose groups hold the flat fp32 shards of this process."""
        found: Optimizer = self.engines[unit].optimizer
        return found

    def held(self, unit: str) -> Sequence[Tensor]:
        """The flat fp32 shards; in stage 3 the optimizer's groups name them only while it steps."""
        optimizer = self.engines[unit].optimizer
        found: list[Tensor] = (
            optimizer.fp32_partitioned_groups_flat
            if self.stage == 3
            else optimizer.single_partition_of_fp32_groups
        )
        return found

    def compute(
        self, work: Callable[[], T], model: nn.Module | None = None, *, last: bool = True
    ) -> T:
        body = self.body_of(model)
        if body is None:
            return work()
        if body.units and torch.is_grad_enabled():
            made: T = self.engines[body.units[0]](work)
            return made
        found: list[T] = []  # hooks on a body look into what it returns
        body(lambda: found.append(work()))
        return found[0]

    def backward(self, unit: str, loss: Tensor, *, last: bool) -> None:
        """DeepSpeed averages over the processes."""
        self.engines[unit].backward(loss * self.world, scale_wrt_gas=False)

    def step(self, unit: str, most: float) -> float:
        engine = self.engines[unit]
        if engine.gradient_clipping() != most:
            msg = f"DeepSpeed clips to {engine.gradient_clipping()}, not {most}"
            raise ValueError(msg)
        engine.step()
        return float(engine.get_global_grad_norm())

    @contextmanager
    def whole(self, module: nn.Module) -> Iterator[Any]:
        """Gathered once, without the hooks that would gather and let go at every layer."""
        body = self.body_of(module)
        if self.stage < 3 or body is None:
            yield module
            return
        with deepspeed.zero.GatheredParameters(list(body.parameters())), unhooked(body):
            yield module
        for engine in self.engines.values():
            if engine.module is body:
                gather(persistent(engine))

    def save(self, folder: Path) -> None:
        """DeepSpeed's own files: one a process and unit, of masters and states."""
        for name, engine in self.engines.items():
            engine.save_checkpoint(
                str(folder), tag=name, save_latest=False, exclude_frozen_parameters=True
            )
            sync_tree(folder / name)  # where all have written by now: it ends with a barrier

    def restore(self, folder: Path) -> None:
        for name, engine in self.engines.items():
            found, _ = engine.load_checkpoint(
                str(folder), tag=name, load_module_strict=False, load_lr_scheduler_states=False
            )
            if found is None:
                msg = f"DeepSpeed finds no checkpoint of `{name}` in {folder}"
                raise ValueError(msg)

    def masters(self, unit: str) -> Mapping[str, Tensor]:
        found = {}
        for name, value in self.units[unit].named.items():
            whole = safe_get_full_fp32_param(value)
            found[name] = whole.detach().cpu() if self.rank == 0 else torch.empty(0)
        return found


@contextmanager
def unhooked(body: nn.Module) -> Iterator[None]:
    """Without DeepSpeed's hooks on any module, which come back after."""
    hooks = [
        (held, dict(held))
        for module in body.modules()
        for held in (module._forward_hooks, module._forward_pre_hooks)
    ]
    for held, before in hooks:
        for key, hook in before.items():
            if hook.__module__.startswith("deepspeed."):
                del held[key]
    try:
        yield
    finally:
        for held, before in hooks:
            held.clear()
            held.update(before)


def heads(body: Body) -> list[Tensor]:
    """What is read by its weight alone, or not as often on every process: output layers, which run
    once a piece of the tokens that get loss, and heads beside a model."""
    found = []
    for module in body.inner.values():
        output = getattr(forward.causal(module), "get_output_embeddings", lambda: None)()
        found += list(module.parameters() if output is None else output.parameters())
    return found


def persistent(engine: Any) -> list[Any]:
    """The weights that DeepSpeed keeps whole between passes."""
    found: list[Any] = engine.optimizer.parameter_offload.persistent_parameters
    return found


def keep(engine: Any, weights: Sequence[Any]) -> None:
    """Keep these whole, too."""
    for weight in weights:
        if not weight.ds_persist:
            weight.ds_persist = True
            persistent(engine).append(weight)
    gather(persistent(engine))


def gather(weights: Sequence[Any]) -> None:
    if weights:
        weights[0].all_gather(weights)
