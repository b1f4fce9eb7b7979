"""GRPO: its advantages and loss against closed forms, and its policy against the exact optimum.

Seen to fail: with `view(group, -1)` for `view(-1, group)` groups do not sum to 0; with k3 turned
round (`new - reference`) its gradient is another; with `average` "replies" divided by tokens, the
weights are not the formula's; with KL subtracted (-beta) the policy leaves its reference.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from enumerable import (
    LENGTH,
    adopted,
    closes_most_of_the_gap,
    draw,
    prompts,
    scores_of,
    settings,
    table,
    toy,
)
from torch import Tensor

from tunelang.train import advantages as adv
from tunelang.train import policy_losses as pl
from tunelang.train import trainable
from tunelang.train.experience import Learner, learn, rollout
from tunelang.train.grpo import Grpo

GROUP = 8
SCORES = torch.randn(5 * GROUP, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def grpo(scale: str = "group", average: str = "replies", **changed: Any) -> Grpo:
    return Grpo(settings(**changed), GROUP, scale, average, (0.2, 0.2), LENGTH)


@pytest.mark.parametrize("scale", ["group", "none"])
def test_grpo_closes_most_of_the_gap_to_the_exact_optimum(scale: str) -> None:
    """At least 0.6 of J* - J0 (0.72 with the group's deviation and 0.76 without, measured), KL at
    most twice the optimum's, never above J*; reference and reward do not move by a bit."""
    closes_most_of_the_gap(grpo(scale), GROUP)


@pytest.mark.parametrize("scale", ["group", "batch", "none"])
def test_advantages_of_a_group_sum_to_nothing(scale: str) -> None:
    """sum_i A_i = 0 in every group, whatever is added to the scores of a prompt."""
    gained = adv.group_relative(SCORES, GROUP, scale)
    assert gained.view(-1, GROUP).sum(1).abs().max() < 1e-12
    prompt = torch.arange(5, dtype=torch.float64).repeat_interleave(GROUP)
    if scale != "batch":  # the batch's deviation knows how prompts differ
        moved = adv.group_relative(SCORES + 3 * prompt, GROUP, scale)
        assert (moved - gained).abs().max() < 1e-12


def test_a_group_of_unit_deviation() -> None:
    """ "group": a deviation of sd / (sd + 1e-4); "none": the scores less their mean."""
    deviation = SCORES.view(-1, GROUP).std(1)
    own = adv.group_relative(SCORES, GROUP, "group").view(-1, GROUP)
    assert (own.std(1) - deviation / (deviation + 1e-4)).abs().max() < 1e-12
    plain = adv.group_relative(SCORES, GROUP, "none").view(-1, GROUP)
    assert (own * (deviation + 1e-4)[:, None] - plain).abs().max() < 1e-12
    batch = adv.group_relative(SCORES, GROUP, "batch").view(-1, GROUP)
    assert (batch * (SCORES.std() + 1e-4) - plain).abs().max() < 1e-12


def test_equal_scores_teach_nothing() -> None:
    """A group whose replies score alike has advantages of exactly 0, not noise over 1e-4."""
    assert not adv.group_relative(torch.full((16,), 0.1), GROUP, "group").any()


def distributions() -> tuple[Tensor, Tensor]:
    """log pi (with gradients in its logits) and log pi_ref over 7 tokens."""
    torch.manual_seed(0)
    logits = torch.randn(7, dtype=torch.float64, requires_grad=True)
    return logits, torch.log_softmax(torch.randn(7, dtype=torch.float64), -1)


def test_k3_is_an_estimate_of_kl_that_is_never_negative() -> None:
    """E_pi k3 = KL(pi, ref), every term >= 0."""
    logits, reference = distributions()
    own = torch.log_softmax(logits, -1).detach()
    terms = pl.k3(own, reference)
    assert (terms >= 0).all()
    expected = (own.exp() * (own - reference)).sum()
    assert abs(float((own.exp() * terms).sum() - expected)) < 1e-12


def test_the_gradient_of_k3_is_that_of_the_other_kl() -> None:
    """E_pi grad k3 = grad KL(ref, pi): with KL in the loss, GRPO is held by the forward KL."""
    logits, reference = distributions()
    own = torch.log_softmax(logits, -1)
    estimate = (own.detach().exp() * pl.k3(own, reference)).sum()
    (found,) = torch.autograd.grad(estimate, logits, retain_graph=True)
    forward = (reference.exp() * (reference - own)).sum()
    (expected,) = torch.autograd.grad(forward, logits)
    assert (found - expected).abs().max() < 1e-12


@pytest.mark.parametrize("average", ["replies", "tokens", "length"])
def test_the_loss_is_the_formula(average: str) -> None:
    """Two replies of 3 and 1 tokens: 1/G sum 1/|o| sum, 1/sum|o| sum sum, 1/(G L) sum sum."""
    mask = torch.tensor([[True, True, True], [True, False, False]])
    numbers = torch.randn(5, 4, dtype=torch.float64)
    new, old, base, gained = numbers[:4] / 5
    weights = grpo(average=average).weights(mask).double()
    terms = [
        max(-float(a * r), -float(a * r.clamp(0.8, 1.2))) + 0.04 * float(k)
        for a, r, k in zip(gained, (new - old).exp(), pl.k3(new, base), strict=True)
    ]
    one, two = sum(terms[:3]), terms[3]
    expected, count = {
        "replies": ((one / 3 + two) / 2, 2),
        "tokens": ((one + two) / 4, 4),
        "length": ((one + two) / (2 * LENGTH), 2 * LENGTH),
    }[average]
    found = pl.group_relative_sum((new, old, base), gained, weights, (0.2, 0.2), 0.04) / count
    assert abs(float(found) - expected) < 1e-7  # weights are made in fp32


def test_the_bounds_of_the_ratio_are_each_its_own() -> None:
    """low = 0.1, high = 0.3: no gradient at rho = 1.31 for A > 0, nor at 0.89 for A < 0."""
    ratios = torch.tensor([1.29, 1.31, 0.91, 0.89], dtype=torch.float64)
    gained = torch.tensor([1.0, 1.0, -1.0, -1.0], dtype=torch.float64)
    new = ratios.log().requires_grad_()
    loss = pl.clipped(new, torch.zeros(4, dtype=torch.float64), gained, 0.1, 0.3).sum()
    (gradient,) = torch.autograd.grad(loss, new)
    assert (gradient != 0).tolist() == [True, False, True, False]


@pytest.mark.parametrize("average", ["replies", "tokens", "length"])
def test_micro_batches_do_not_change_an_update(average: str) -> None:
    """One rollout learnt from in micro-batches of 64 and of 12 gives the same weights."""
    ends = []
    for micro in (64, 12):
        who, algorithm = (
            replace(toy(), critic=None),
            grpo(average=average, micro=micro, epochs=1, minibatches=1),
        )
        own = trainable.adapter_parameters(who.trained.model, "policy")
        asked = [each for each in prompts() for _ in range(GROUP)]
        drawn = draw(who, asked, 5)
        found = rollout(who, drawn, scores_of(drawn, table()), 0.1, algorithm.settings)
        adopted(who, torch.optim.SGD(own, lr=0.1))
        order = torch.Generator().manual_seed(0)
        learn(who, algorithm.experience(who, found), Learner(algorithm, order))
        ends.append(torch.cat([w.detach().flatten() for w in own]))
    assert (ends[0] - ends[1]).abs().max() < 1e-6
