"""RLOO: its advantages and gradient against closed forms, its policy against the exact optimum.

Seen to fail: with the own score left in the baseline (a division by k) the closed form is missed;
with KL added to the score (+beta) the policy goes beyond twice the optimum's KL; with `whole`
summed over tokens of other replies, the gradient is not that of REINFORCE.
"""

from __future__ import annotations

import torch
from enumerable import (
    closes_most_of_the_gap,
    draw,
    prompts,
    scores_of,
    settings,
    table,
    toy,
)

from tunelang.train import advantages as adv
from tunelang.train import trainable
from tunelang.train.experience import Part, log_probabilities_of, rollout
from tunelang.train.policy_stats import Stats
from tunelang.train.rloo import Rloo
from tunelang.train.rollout import Episode, collate, reply_log_probabilities

GROUP = 4
RLOO = Rloo(settings(), GROUP, 0.2)


def test_rloo_closes_most_of_the_gap_to_the_exact_optimum() -> None:
    """At least 0.6 of J* - J0 (0.80 measured), KL at most twice the optimum's (1.31 times), never
    above J*; reference and reward do not move by a bit."""
    closes_most_of_the_gap(RLOO, GROUP)


def test_leaving_one_out_is_its_closed_form() -> None:
    """A_i = k / (k - 1) (r_i - mean r), and so it sums to 0 in every group."""
    scores = torch.randn(6 * GROUP, dtype=torch.float64)
    gained = adv.leave_one_out(scores, GROUP).view(-1, GROUP)
    groups = scores.view(-1, GROUP)
    expected = GROUP / (GROUP - 1) * (groups - groups.mean(1, keepdim=True))
    assert (gained - expected).abs().max() < 1e-12
    assert gained.sum(1).abs().max() < 1e-12


def test_of_two_replies_each_is_the_other_ones_baseline() -> None:
    """k = 2: A = r_1 - r_2 and r_2 - r_1."""
    assert adv.leave_one_out(torch.tensor([3.0, 1.0]), 2).tolist() == [2.0, -2.0]


def test_the_baseline_is_no_bias() -> None:
    """E A_i grad log pi(y_i) = grad E r: k = 2 replies of one token of 5, 25 pairs in all."""
    torch.manual_seed(0)
    logits = torch.randn(5, dtype=torch.float64, requires_grad=True)
    rewards = torch.randn(5, dtype=torch.float64)
    logs = torch.log_softmax(logits, -1)
    (expected,) = torch.autograd.grad((logs.exp() * rewards).sum(), logits, retain_graph=True)
    estimate = torch.zeros((), dtype=torch.float64)
    for one in range(5):
        for two in range(5):
            chance = (logs[one] + logs[two]).exp().detach()
            gained = adv.leave_one_out(rewards[[one, two]], 2)
            estimate = estimate + chance * (gained[0] * logs[one] + gained[1] * logs[two]) / 2
    (found,) = torch.autograd.grad(estimate, logits)
    assert (found - expected).abs().max() < 1e-12


def test_the_first_gradient_is_that_of_reinforce() -> None:
    """-(1/B) sum_i A_i grad log pi(y_i), A of score - beta KL, on replies of 1 and 2 tokens."""
    who, beta = toy(), 0.3
    for weight in trainable.adapter_parameters(who.trained.model, "policy"):
        weight.data += 0.05 * torch.randn(
            weight.shape
        )  # away from the reference, so that KL counts
    drawn = draw(who, [x for x in prompts()[:2] for _ in range(GROUP)], 7)
    rows = [Episode(r.prompt, r.reply[: 1 + at % 2], False) for at, r in enumerate(drawn)]
    scores = scores_of(drawn, table())
    found = rollout(who, rows, scores, beta, settings())
    episodes = collate(rows, 0, "cpu")
    own = trainable.adapter_parameters(who.trained.model, "policy")
    kl = found.old.sum(1) - log_probabilities_of(who.reference, rows, who.lens, settings()).sum(1)
    gained = adv.leave_one_out(scores - beta * kl, GROUP)
    with trainable.using(who.policy.model, ("policy",)):
        logs = reply_log_probabilities(who.policy.model, episodes, who.lens, 1.0)
        spread = torch.zeros(episodes.mask.shape).masked_scatter(episodes.mask, logs)
        expected = torch.autograd.grad(-(gained * spread.sum(1)).mean(), own)
    part = Part(list(range(len(rows))), episodes, len(rows), int(episodes.mask.sum()))
    RLOO.backward(who, RLOO.experience(who, found), part, Stats({}))
    for weight, gradient in zip(own, expected, strict=True):
        assert weight.grad is not None
        assert (weight.grad - gradient).abs().max() < 1e-6
    assert float(kl.abs().max()) > 1e-3
