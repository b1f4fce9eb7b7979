"""P13: advantages, PPO's losses and the KL controller against closed forms.

Seen to fail: with V(T + 1) kept in `gae` instead of 0; with the score a token later; with the
padding inside `whitened`; with the larger of the clipped terms made the smaller; with `steered`
dividing by 1 + off instead of multiplying.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tunelang.train import advantages as adv
from tunelang.train import policy_losses as pl

torch.manual_seed(0)
REWARDS = torch.randn(3, 5, dtype=torch.float64)
VALUES = torch.randn(3, 5, dtype=torch.float64)
LENGTHS = torch.tensor([5, 2, 4])
MASK = torch.arange(5)[None] < LENGTHS[:, None]


def to_go(rewards: Tensor) -> Tensor:
    """Sums of what is still to come."""
    return rewards.flip(1).cumsum(1).flip(1)


def test_lambda_one_is_the_reward_to_go_minus_the_value() -> None:
    """GAE(1) = R_t + ... + R_T - V_t, on real tokens only."""
    advantages, returns = adv.gae(REWARDS * MASK, VALUES, MASK, 1.0, 1.0)
    expected = (to_go(REWARDS * MASK) - VALUES) * MASK
    assert (advantages - expected).abs().max() < 1e-12
    assert (returns - to_go(REWARDS * MASK))[MASK].abs().max() < 1e-12


def test_lambda_zero_is_the_temporal_difference() -> None:
    """GAE(0) = r_t + gamma V_{t+1} - V_t, with V = 0 after the last token."""
    advantages, _ = adv.gae(REWARDS * MASK, VALUES, MASK, 0.9, 0.0)
    held = VALUES * MASK
    following = torch.cat([held[:, 1:], torch.zeros(3, 1, dtype=torch.float64)], dim=1)
    expected = (REWARDS + 0.9 * following - VALUES) * MASK
    assert (advantages - expected).abs().max() < 1e-12


def test_padding_changes_no_advantage() -> None:
    """A reply's advantages do not depend on how long the longest reply of its batch is."""
    alone, _ = adv.gae(REWARDS[1:2, :2], VALUES[1:2, :2], MASK[1:2, :2], 1.0, 0.95)
    together, _ = adv.gae(REWARDS * MASK, VALUES, MASK, 1.0, 0.95)
    assert torch.equal(alone[0], together[1, :2])
    assert not together[1, 2:].any()


def test_the_score_lands_on_the_last_real_token() -> None:
    """On the end-of-text token itself, never on the padding after it."""
    zeros = torch.zeros(3, 5, dtype=torch.float64)
    scores = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    rewards = adv.token_rewards(zeros, zeros, scores, 0.1, MASK)
    assert rewards.nonzero().tolist() == [[0, 4], [1, 1], [2, 3]]
    assert rewards[MASK].sum() == 6.0


def test_the_kl_penalty_is_charged_token_by_token() -> None:
    """r_t = -beta (log pi_old - log pi_ref)."""
    old, reference = VALUES, REWARDS
    rewards = adv.token_rewards(old, reference, torch.zeros(3, dtype=torch.float64), 0.5, MASK)
    assert (rewards - (-0.5 * (old - reference) * MASK)).abs().max() == 0


def test_whitening_looks_at_real_tokens_only() -> None:
    """Zero mean and unit variance over the mask; padding stays 0 and counts for nothing."""
    spoiled = torch.where(MASK, VALUES, torch.tensor(1e6, dtype=torch.float64))
    white = adv.whitened(spoiled, MASK)
    assert abs(float(white[MASK].mean())) < 1e-12
    assert abs(float(white[MASK].var(unbiased=False)) - 1) < 1e-6
    assert not white[~MASK].any()


def test_beyond_the_clip_a_good_action_has_no_gradient() -> None:
    """A > 0 and rho > 1 + e: exactly zero; A < 0 there keeps its gradient."""
    old = torch.zeros(2, dtype=torch.float64)
    new = torch.tensor([0.5, 0.5], dtype=torch.float64, requires_grad=True)
    advantages = torch.tensor([1.0, -1.0], dtype=torch.float64)
    (gradient,) = torch.autograd.grad(pl.clipped_policy_sum(new, old, advantages, 0.2), new)
    assert gradient[0] == 0
    assert gradient[1] == torch.tensor(0.5, dtype=torch.float64).exp()


def test_at_ratio_one_ppo_is_the_policy_gradient() -> None:
    """grad of the clipped loss = -A grad log pi where rho = 1."""
    logits = torch.randn(6, 7, dtype=torch.float64, requires_grad=True)
    chosen = torch.randint(0, 7, (6,))
    gained = torch.randn(6, dtype=torch.float64)
    logs = torch.log_softmax(logits, -1)[torch.arange(6), chosen]
    ppo = pl.clipped_policy_sum(logs, logs.detach(), gained, 0.2)
    (ours,) = torch.autograd.grad(ppo, logits, retain_graph=True)
    (plain,) = torch.autograd.grad(-(gained * logs).sum(), logits)
    assert (ours - plain).abs().max() < 1e-12


def test_the_value_loss_takes_the_worse_of_clipped_and_free() -> None:
    """Moving further than the clip gains nothing."""
    old, returns = torch.zeros(1), torch.ones(1)
    near = pl.clipped_value_sum(torch.tensor([0.1]), old, returns, 0.2)
    far = pl.clipped_value_sum(torch.tensor([0.9]), old, returns, 0.2)
    assert torch.isclose(near, torch.tensor(0.5 * 0.81))
    assert torch.isclose(far, torch.tensor(0.5 * 0.64))


def test_the_controller_steers_kl_to_its_target() -> None:
    """On a plant whose KL falls with the coefficient, it settles within 20 % of the target."""
    coefficient, seen = 0.01, []
    for _ in range(400):
        kl = 1.0 / coefficient  # a policy that drifts less the dearer it is
        coefficient = pl.steered(coefficient, kl, target=6.0, share=0.1)
        seen.append(kl)
    assert abs(seen[-1] / 6.0 - 1) < 0.2
    assert seen[0] > 60
