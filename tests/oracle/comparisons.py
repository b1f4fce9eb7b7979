"""The loss of train/ranking.py over pairs, with each of the references that it can have."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from tests.oracle.cases import Case
from tunelang.train import ranking, reference
from tunelang.train.course import Policy
from tunelang.train.evaluate import Lens
from tunelang.train.forward import Row
from tunelang.train.losses import IGNORED
from tunelang.train.ranked import Ranked

DPO = {"beta": 0.1, "label_smoothing": 0.0, "margin": False}


def loss_of(case: Case, trained: Any, lens: Lens, other: Any) -> Any:
    """`loss` of one micro-batch of pairs; `other` is a reference's own model."""
    step = SimpleNamespace(fields=DPO, method="dpo", length=case.length)
    lists = ranking.Lists(step, SimpleNamespace())  # type: ignore[arg-type]
    policy = Policy(trained, lens, reference_of(case, trained, lens, other))
    micro = ranking.Micro([pair(case) for _ in range(case.rows)], 1.0)
    return lambda: lists.loss(policy, micro)


def reference_of(case: Case, trained: Any, lens: Lens, other: Any) -> Any:
    if case.reference == "adapter_off":
        return reference.Off(trained, lens)
    if case.reference == "own":
        return reference.Frozen(other, lens)
    return known


def known(rows: Any) -> Tensor:
    """What an earlier step computed: a number a row (train/reference.py, Kept)."""
    return torch.zeros(len(rows))


def pair(case: Case) -> Ranked:
    labels = [IGNORED] * case.prompt + [1] * (case.length - case.prompt)
    return Ranked([Row([1] * case.length, labels)] * 2, [1.0, 0.0])
