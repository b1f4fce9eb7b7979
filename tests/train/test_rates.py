"""The learning rate is a pure function of the step number."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from tunelang.plan.ir import Schedule, Step
from tunelang.train import optimise


def schedule(kind: Any, **more: Any) -> Schedule:
    fixed = {"steps": 10, "warmup": 2, "floor": 0.1, "eval_every": 0, "save_every": 0}
    return Schedule(kind=kind, **{**fixed, **more})


def equation_3(at: int, steps: int, cut_frac: float, ratio: float) -> float:
    """ULMFiT (arXiv 1801.06146), eq. 3 with eta_max = 1, as it is printed."""
    cut = math.floor(steps * cut_frac)
    p = at / cut if at < cut else 1 - (at - cut) / (cut * (1 / cut_frac - 1))
    return (1 + p * (ratio - 1)) / ratio


@pytest.mark.parametrize(("steps", "cut_frac", "ratio"), [(100, 0.1, 32), (40, 0.25, 8)])
def test_the_slanted_triangle_is_the_papers(steps: int, cut_frac: float, ratio: float) -> None:
    """Equation 3 at every step; the highest rate is lr, the first one lr / ratio.

    Seen to fail: the fall divided by all steps; the rise one update early.
    """
    cut = math.floor(steps * cut_frac)
    plan = schedule("slanted_triangular", steps=steps, warmup=cut, floor=1 / ratio)
    rates = [optimise.rate(plan, 1.0, at) for at in range(steps)]
    for at, found in enumerate(rates):
        assert found == pytest.approx(equation_3(at, steps, cut_frac, ratio), rel=1e-12)
    assert max(rates) == rates[cut] == 1.0
    assert rates[0] == 1 / ratio


def test_the_slanted_triangle_stays_above_its_floor() -> None:
    """25 steps do not divide by 10: the printed formula falls below 0, ours ends at lr / ratio."""
    plan = schedule("slanted_triangular", steps=25, warmup=2, floor=1 / 32)
    assert equation_3(24, 25, 0.1, 32) == pytest.approx(-0.184, abs=1e-3)
    assert min(optimise.rate(plan, 1.0, at) for at in range(25)) >= 1 / 32


def test_groups_keep_their_share_of_the_rate() -> None:
    """Groups with a scale get lr x scale to the bit, matrices and vectors alike; others lr.

    Seen to fail: set_rate without the scale.
    """
    values = {"top": torch.zeros(2, 2), "top.norm": torch.zeros(2), "low": torch.zeros(2, 2)}
    scales = {"top": 1.0, "top.norm": 1.0, "low": 1 / 2.6}
    step = Step.model_construct(fields={"weight_decay": 0.1}, lr=1.0)
    optimizer = optimise.optimizer(step, values, scales)
    optimise.set_rate(optimizer, 3e-4)
    shares = {id(each): group for group in optimizer.param_groups for each in group["params"]}
    for name, value in values.items():
        assert shares[id(value)]["lr"] == 3e-4 * scales[name]
        assert shares[id(value)]["weight_decay"] == (0.1 if value.dim() == 2 else 0.0)
    plain = optimise.optimizer(step, values)
    optimise.set_rate(plain, 3e-4)
    assert [group["lr"] for group in plain.param_groups] == [3e-4, 3e-4]


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
