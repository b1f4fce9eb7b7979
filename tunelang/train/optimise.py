"""The optimizer and its learning rate, a pure function of the step number."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from tunelang.plan.ir import Schedule, Step
from tunelang.train.job import fail


def optimizer(step: Step, named: Mapping[str, Tensor]) -> Optimizer:
    """AdamW (arXiv 1711.05101) over the named weights; matrices decay, norms and biases do not."""
    decay = float(step.fields.get("weight_decay", 0.0))
    groups = [
        {"params": [value for value in named.values() if value.dim() >= 2], "weight_decay": decay},
        {"params": [value for value in named.values() if value.dim() < 2], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    kind = str(step.fields.get("optimizer", "adamw"))
    if kind == "adamw":
        return torch.optim.AdamW(groups, lr=step.lr or 0.0, fused=True)
    return eight_bit(kind, groups, step.lr or 0.0)


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
    stays for constant.
    """
    if at < schedule.warmup:
        return lr * (at + 1) / schedule.warmup
    if schedule.kind == "constant":
        return lr
    gone = (at - schedule.warmup) / max(1, schedule.steps - schedule.warmup)
    shape = 1 - gone if schedule.kind == "linear" else 0.5 * (1 + math.cos(math.pi * gone))
    return lr * (schedule.floor + (1 - schedule.floor) * shape)


def set_rate(optimizer: Optimizer, lr: float) -> None:
    """Give every group of the optimizer this learning rate."""
    for group in optimizer.param_groups:
        group["lr"] = lr
