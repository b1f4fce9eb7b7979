"""The optimizer and its learning rate, a pure function of the step number."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from tunelang.plan.ir import Schedule, Step
from tunelang.train.engines.engine import Engine
from tunelang.train.job import fail

SCALE = "scale"  # of a group's rate: discriminative fine-tuning gives lower layers less


def optimizer(
    step: Step, named: Mapping[str, Tensor], scales: Mapping[str, float] | None = None
) -> Optimizer:
    """AdamW (arXiv 1711.05101) over the named weights; matrices decay, norms and biases do not.

    `scales` are shares of the rate by name, 1 for all where there are none. A weight without a
    gradient is passed over entirely, decay included: so are those that are frozen for now.
    """
    decay = float(step.fields.get("weight_decay", 0.0))
    groups = [
        group
        for scale, members in by_scale(named, scales or {})
        for group in (
            {"params": [value for value in members if value.dim() >= 2], "weight_decay": decay}
            | scale,
            {"params": [value for value in members if value.dim() < 2], "weight_decay": 0.0}
            | scale,
        )
        if group["params"]
    ]
    kind = str(step.fields.get("optimizer", "adamw"))
    if kind == "adamw":
        return torch.optim.AdamW(groups, lr=step.lr or 0.0, fused=True)
    return eight_bit(kind, groups, step.lr or 0.0)


def by_scale(
    named: Mapping[str, Tensor], scales: Mapping[str, float]
) -> list[tuple[dict[str, float], list[Tensor]]]:
    """The weights of every scale, in the order in which scales first occur."""
    if not scales:
        return [({}, list(named.values()))]
    found: dict[float, list[Tensor]] = {}
    for name, value in named.items():
        found.setdefault(scales[name], []).append(value)
    return [({SCALE: scale}, members) for scale, members in found.items()]


def eight_bit(kind: str, groups: list[dict[str, Any]], lr: float) -> Optimizer:
    """AdamW with 8-bit states (Dettmers et al. 2021, arXiv 2110.02861) of bitsandbytes."""
    try:
        import bitsandbytes
    except ImportError:
        help = "pip install 'tunelang[quant]'"
        fail("TL715", "training-not-installed", f"`{kind}` needs `bitsandbytes`", help)
    makers = {
        "adamw_8bit": bitsandbytes.optim.AdamW8bit,
        "paged_adamw_8bit": bitsandbytes.optim.PagedAdamW8bit,
    }
    made: Optimizer = makers[kind](groups, lr=lr)
    return made


def rate(schedule: Schedule, lr: float, at: int) -> float:
    """The learning rate of the update after `at` done ones.

    Rises linearly to `lr` over `warmup` updates (none has rate 0), then falls to floor x lr, or
    stays for constant. A slanted triangle begins at floor x lr, too.
    """
    if schedule.kind == "slanted_triangular":
        return lr * (schedule.floor + (1 - schedule.floor) * slant(schedule, at))
    if at < schedule.warmup:
        return lr * (at + 1) / schedule.warmup
    if schedule.kind == "constant":
        return lr
    gone = (at - schedule.warmup) / max(1, schedule.steps - schedule.warmup)
    shape = 1 - gone if schedule.kind == "linear" else 0.5 * (1 + math.cos(math.pi * gone))
    return lr * (schedule.floor + (1 - schedule.floor) * shape)


def slant(schedule: Schedule, at: int) -> float:
    """p of ULMFiT (arXiv 1801.06146, eq. 3): t/cut, then 1 - (t - cut) / (cut (1/cut_frac - 1)).

    That denominator is T - cut where T x cut_frac is whole; where it is not, the paper's own would
    let the rate fall below 0 (T = 25: to -0.18 of lr).
    """
    if at < schedule.warmup:
        return at / schedule.warmup
    return 1 - (at - schedule.warmup) / max(1, schedule.steps - schedule.warmup)


def set_rate(optimizer: Optimizer, lr: float) -> None:
    """Give every group of the optimizer this learning rate, times its own scale if it has one."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group[SCALE] if SCALE in group else lr


def update(engine: Engine, unit: str, most: float) -> float:
    """One update of a unit, its gradients clipped to a norm of `most`; returns the norm before.

    TL735 where that is no finite number: DeepSpeed would pass the update over in silence, and all
    others would make weights of it that are no numbers.
    """
    norm = engine.step(unit, most)
    finite("the norm of the gradients", norm)
    return norm


def finite(what: str, value: float, when: str = "") -> None:
    """TL735 where a figure of an update is not a finite number."""
    if not math.isfinite(value):
        help = "lower the learning rate, or use precision = fp32"
        fail("TL735", "loss-not-finite", f"{what} is {value}{when}", help)
