"""P10: the losses of ranked lists are what their papers write, by identities and by second hands.

Seen to fail: with >= for > in `better`, and with a reply's own score left out of Plackett-Luce's
denominator, two replies are no Bradley-Terry pair; with PRO's own temperature halved it differs
from its paper; without RRHF's relu, with LiPO's ranks counted from 2 and with SLiC's gap added
each differs from its formula.
"""

from __future__ import annotations

import itertools
import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tunelang.train import list_losses as losses

FOUR = torch.tensor([4.0, 3.0, 2.0, 1.0], dtype=torch.float64)
LOSSES = {
    "plackett_luce": losses.plackett_luce,
    "all_pairs": losses.all_pairs,
    "lipo": lambda scores, labels: losses.lipo(scores, losses.unit(labels)),
}


def scores(size: int, seed: int = 0) -> Tensor:
    return torch.randn(size, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_two_replies_make_bradley_terry() -> None:
    """Plackett-Luce and the mean over pairs of a list of two: -log sigma(s_w - s_l)."""
    for seed in range(5):
        pair = scores(2, seed)
        expected = -F.logsigmoid(pair[0] - pair[1])
        for loss in (losses.plackett_luce, losses.all_pairs):
            assert abs(float(loss(pair, FOUR[:2]) - expected)) < 1e-10


def test_plackett_luce_is_a_distribution_over_orders() -> None:
    """exp(-loss) sums to 1 over all 4! orders of four replies."""
    found = scores(4)
    total = sum(
        math.exp(-float(losses.plackett_luce(found[list(order)], FOUR)))
        for order in itertools.permutations(range(4))
    )
    assert abs(total - 1) < 1e-10


def test_the_order_of_a_list_does_not_matter() -> None:
    """Replies and labels moved together give the same loss, for every loss."""
    found, mixed = scores(4), torch.tensor([2, 0, 3, 1])
    every = {
        **LOSSES,
        "rrhf": losses.rrhf,
        "pro": losses.pro,
        "slic": lambda found, labels: losses.slic(found, labels, 1.0),
    }
    for loss in every.values():
        assert abs(float(loss(found, FOUR) - loss(found[mixed], FOUR[mixed]))) < 1e-10


def test_pro_is_its_papers_expression_and_plackett_luce_without_temperatures() -> None:
    """Products and exponentials as the paper writes them (arXiv 2306.17492, eq. 7), and T = 1."""
    found, labels = scores(4), torch.tensor([0.9, 0.5, 0.4, 0.1], dtype=torch.float64)
    expected = 0.0
    for k in range(3):
        gaps = [float(labels[k] - labels[j]) for j in range(k + 1, 4)]
        own = math.exp(float(found[k]) * max(gaps))
        others = [math.exp(float(found[k + 1 + at]) * gap) for at, gap in enumerate(gaps)]
        expected -= math.log(own / (own + sum(others)))
    assert abs(float(losses.pro(found, labels)) - expected) < 1e-10
    alike = losses.pro(found, labels, torch.ones(4, 4, dtype=torch.float64))
    assert abs(float(alike - losses.plackett_luce(found, labels))) < 1e-10


def test_pro_does_not_overflow() -> None:
    """The paper's code takes exp(900) = inf in fp32 and returns nan; ours is exact."""
    far = torch.tensor([0.0, 900.0, -900.0, 5.0])
    # k = 1: 900 against 0; k = 2: nothing near 900 * 2; k = 3: 5 against -900.
    assert float(losses.pro(far, FOUR.float())) == pytest.approx(900 + 0 + 905)


def test_pro_moves_with_a_constant_and_plackett_luce_does_not() -> None:
    """Temperatures differ among a reply's rivals, so PRO is not shift-invariant: its property."""
    found = scores(4)
    assert abs(float(losses.pro(found + 1, FOUR) - losses.pro(found, FOUR))) > 0.01
    for loss in LOSSES.values():
        assert abs(float(loss(found + 1, FOUR) - loss(found, FOUR))) < 1e-10


def test_rrhf_is_its_papers_expression() -> None:
    """sum_{r_i < r_j} max(0, p_i - p_j), and zero exactly where the order agrees."""
    found, rewards = scores(6), torch.tensor([3.0, 0.0, 5.0, 1.0, 4.0, 2.0], dtype=torch.float64)
    expected = sum(
        max(0.0, float(found[i] - found[j]))
        for i in range(6)
        for j in range(6)
        if rewards[i] < rewards[j]
    )
    assert abs(float(losses.rrhf(found, rewards)) - expected) < 1e-10
    assert expected > 0
    assert float(losses.rrhf(FOUR, FOUR)) == 0.0
    assert float(losses.rrhf(-FOUR, FOUR)) == 10.0  # 1 + 2 + 3 + 1 + 2 + 1


def test_lipo_is_its_formula() -> None:
    """By loops: D_ij = |2^l_i - 2^l_j| |1/log(1 + rank_i) - 1/log(1 + rank_j)|."""
    found, labels = scores(4), torch.tensor([0.2, 1.0, 0.0, 0.7], dtype=torch.float64)
    ranking = sorted(range(4), key=lambda at: -float(found[at]))
    rank = {reply: place + 1 for place, reply in enumerate(ranking)}
    expected = 0.0
    for i, j in itertools.permutations(range(4), 2):
        if labels[i] > labels[j]:
            gain = abs(2 ** float(labels[i]) - 2 ** float(labels[j]))
            discount = abs(1 / math.log(1 + rank[i]) - 1 / math.log(1 + rank[j]))
            expected += gain * discount * math.log1p(math.exp(-float(found[i] - found[j])))
    assert abs(float(losses.lipo(found, labels)) - expected) < 1e-10


def test_slic_is_a_hinge() -> None:
    """mean of max(0, margin - (s_w - s_l)); zero once every gap is as wide as the margin."""
    found = scores(3)
    gaps = [float(found[i] - found[j]) for i, j in itertools.combinations(range(3), 2)]
    expected = sum(max(0.0, 0.5 - gap) for gap in gaps) / 3
    assert abs(float(losses.slic(found, FOUR[:3], 0.5)) - expected) < 1e-10
    assert float(losses.slic(FOUR, FOUR, 1.0)) == 0.0


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_lift_the_best_and_lower_the_worst(name: str) -> None:
    """Over a list they sum to 0; the best reply's is not positive, the worst one's not negative."""
    for seed in range(20):
        found = scores(4, seed).requires_grad_()
        LOSSES[name](found, FOUR).backward()
        assert found.grad is not None
        assert abs(float(found.grad.sum())) < 1e-10
        assert float(found.grad[0]) <= 0 <= float(found.grad[-1])
        assert float(found.grad.abs().max()) > 1e-3


def test_ties_form_no_pair() -> None:
    """A reply as good as another is no rival of it: moving one leaves the other's terms alone."""
    labels = torch.tensor([2.0, 1.0, 1.0], dtype=torch.float64)
    found = scores(3)
    pair = [float(losses.plackett_luce(found[[0, at]], FOUR[:2])) for at in (1, 2)]
    both = losses.all_pairs(found, labels)
    assert abs(float(both) - sum(pair) / 2) < 1e-10
    assert float(losses.rrhf(torch.tensor([9.0, 1.0, 5.0]), labels)) == 0.0
    wins = losses.better(labels)
    assert wins.sum() == 2 and not wins[1, 2] and not wins[2, 1]


def test_equal_scores_cost_log_k_factorial() -> None:
    """All orders are alike then: K! of them."""
    for size in (2, 3, 4):
        zeros = torch.zeros(size, dtype=torch.float64)
        expected = math.log(math.factorial(size))
        assert abs(float(losses.plackett_luce(zeros, FOUR[:size])) - expected) < 1e-10
