"""P11's closed forms: the losses of pairs and single judgements, their first values and gradients.

Seen to fail: with the sign of `gap` turned in `dpo_sum` the closed form differs; with 1 / beta for
1 / (2 beta) in `ipo_sum` its minimum moves; with gamma added in `simpo_sum`, and without the
baseline in `kto_sum`, the formulas differ; with log1p(-exp) everywhere in `log_odds` the value near
P = 1 is lost; without `detach` in `kto_baseline` the baseline has a gradient.
"""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from tunelang.train import preference_losses as losses
from tunelang.train.preference_losses import KTO

GAPS = torch.tensor([-2.0, -0.3, 0.0, 0.7, 5.0], dtype=torch.float64)


def closed(gap: float, beta: float) -> float:
    return math.log1p(math.exp(-beta * gap))


def test_dpo_is_its_closed_form() -> None:
    """sum log(1 + exp(-beta gap)); a gap of 0 costs ln 2."""
    expected = sum(closed(float(gap), 0.1) for gap in GAPS)
    assert abs(float(losses.dpo_sum(GAPS, 0.1)) - expected) < 1e-12
    zero = torch.zeros(1, dtype=torch.float64)
    assert abs(float(losses.dpo_sum(zero, 0.1)) - math.log(2)) < 1e-12


def test_dpo_gradient_is_its_closed_form() -> None:
    """d loss / d gap = -beta sigma(-beta gap) (arXiv 2305.18290, section 4)."""
    gap = GAPS.clone().requires_grad_()
    losses.dpo_sum(gap, 0.3).backward()
    expected = -0.3 / (1 + torch.exp(0.3 * GAPS))
    assert gap.grad is not None
    assert float((gap.grad - expected).abs().max()) < 1e-12


def test_smoothing_mixes_both_orders_and_a_margin_asks_for_more() -> None:
    """cDPO: (1 - e) of the loss and e of the loss of the pair turned round. Margin: a shift."""
    expected = 0.9 * losses.dpo_sum(GAPS, 0.1) + 0.1 * losses.dpo_sum(-GAPS, 0.1)
    assert abs(float(losses.dpo_sum(GAPS, 0.1, 0.1) - expected)) < 1e-12
    margin = torch.full_like(GAPS, 0.5)
    shifted = losses.dpo_sum(GAPS - 0.5 / 0.1, 0.1)
    assert abs(float(losses.dpo_sum(GAPS, 0.1, 0.0, margin) - shifted)) < 1e-12


def test_ipo_is_least_at_its_distance() -> None:
    """Zero at 1 / (2 beta), (1 / (2 beta))^2 where nothing has moved."""
    assert float(losses.ipo_sum(torch.tensor([5.0]), 0.1)) == 0.0
    assert float(losses.ipo_sum(torch.tensor([0.0]), 0.1)) == pytest.approx(25.0)
    assert float(losses.ipo_sum(torch.tensor([9.0]), 0.1)) == pytest.approx(16.0)


def test_simpo_is_its_closed_form() -> None:
    """log(1 + exp(gamma - beta (p_w - p_l))): more gamma costs more."""
    won, lost = GAPS - 5, GAPS.flip(0) - 5
    expected = sum(math.log1p(math.exp(1.0 - 2 * float(gap))) for gap in won - lost)
    assert abs(float(losses.simpo_sum(won, lost, 2.0, 1.0)) - expected) < 1e-12
    less = losses.simpo_sum(won, lost, 2.0, 0.0)
    assert float(less) < float(losses.simpo_sum(won, lost, 2.0, 1.0))


def test_odds_are_exact_at_both_ends() -> None:
    """log(P / (1 - P)) for P from 1e-30 to 1 - 1e-12, to ten digits, and its gradient 1/(1 - P)."""
    for probability in (1e-30, 1e-9, 0.2, 0.5, 0.9):
        value = torch.tensor(math.log(probability), dtype=torch.float64, requires_grad=True)
        found = losses.log_odds(value)
        found.backward()
        expected = math.log(probability) - math.log1p(-probability)
        assert found.item() == pytest.approx(expected, rel=1e-10, abs=1e-12)
        assert value.grad is not None
        assert float(value.grad) == pytest.approx(1 / (1 - probability), rel=1e-9)
    near = torch.tensor(-1e-12, dtype=torch.float64)  # P = 1 - 1e-12: exp would round it away
    assert float(losses.log_odds(near)) == pytest.approx(-math.log(1e-12), rel=1e-10)


def test_odds_ratio_is_its_formula() -> None:
    """-log sigma of the log of the ratio of odds (arXiv 2403.07691, eq. 7)."""
    won, lost = 0.6, 0.2
    ratio = (won / (1 - won)) / (lost / (1 - lost))
    expected = math.log1p(1 / ratio)
    pair = [torch.tensor([math.log(each)], dtype=torch.float64) for each in (won, lost)]
    assert abs(float(losses.odds_ratio_sum(pair[0], pair[1])) - expected) < 1e-12


def kto(ratio: Tensor, good: list[bool], baseline: float, settings: KTO) -> float:
    marks = torch.tensor(good)
    return float(losses.kto_sum(ratio, marks, torch.tensor(baseline).double(), settings))


def test_kto_is_its_formula() -> None:
    """w_d (1 - sigma(beta (r - z))) for good replies, w_u (1 - sigma(beta (z - r))) for bad."""
    ratio = torch.tensor([1.5, -0.5], dtype=torch.float64)
    good = 1.3 * (1 - 1 / (1 + math.exp(-0.2 * (1.5 - 0.4))))
    bad = 0.8 * (1 - 1 / (1 + math.exp(-0.2 * (0.4 + 0.5))))
    settings = KTO(0.2, 1.3, 0.8)
    assert abs(kto(ratio, [True, False], 0.4, settings) - good - bad) < 1e-7
    assert kto(torch.zeros(2).double(), [True, False], 0.0, KTO(0.1)) == pytest.approx(1.0)


def test_the_baseline_is_a_kl_without_gradient() -> None:
    """The mean, never below 0, and nothing flows through it."""
    ratio = torch.tensor([0.5, -0.1], requires_grad=True)
    found = losses.kto_baseline(ratio)
    assert float(found) == pytest.approx(0.2)
    assert not found.requires_grad
    assert float(losses.kto_baseline(-ratio)) == 0.0
