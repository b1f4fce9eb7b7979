"""The learning rate is a pure function of the step number."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tunelang.plan.ir import Schedule
from tunelang.train import optimise


def schedule(kind: Any, **more: Any) -> Schedule:
    fixed = {"steps": 10, "warmup": 2, "floor": 0.1, "eval_every": 0, "save_every": 0}
    return Schedule(kind=kind, **{**fixed, **more})


@pytest.mark.parametrize("kind", ["cosine", "linear", "constant"])
def test_every_kind_warms_up(kind: str) -> None:
    """Also constant, which transformers' schedule of that name does not; no update has rate 0."""
    rates = [optimise.rate(schedule(kind), 1.0, at) for at in range(10)]
    assert rates[:3] == [0.5, 1.0, 1.0]
    assert min(rates) > 0


def test_cosine_and_linear_fall_to_the_floor() -> None:
    """Half way down they are half way to the floor; after the last update they are at it."""
    for kind in ("cosine", "linear"):
        assert optimise.rate(schedule(kind), 1.0, 6) == pytest.approx(0.55)
        assert optimise.rate(schedule(kind), 1.0, 10) == pytest.approx(0.1)
        rates = [optimise.rate(schedule(kind), 1.0, at) for at in range(2, 10)]
        assert rates == sorted(rates, reverse=True)


def test_constant_stays() -> None:
    """After the warmup the rate is lr to the end."""
    assert {optimise.rate(schedule("constant"), 3e-4, at) for at in range(2, 10)} == {3e-4}


def test_the_cosine_is_transformers() -> None:
    """Without warmup and floor the same numbers as transformers' scheduler."""
    from transformers import get_scheduler

    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs = get_scheduler("cosine", optimizer, num_warmup_steps=0, num_training_steps=10)
    plan = schedule("cosine", warmup=0, floor=0.0)
    for at in range(10):
        assert optimise.rate(plan, 1.0, at) == pytest.approx(theirs.get_last_lr()[0])
        optimizer.step()
        theirs.step()
