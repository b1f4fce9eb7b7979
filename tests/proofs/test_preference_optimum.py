"""P12 and P14 for dpo and Plackett-Luce: replies that can be enumerated have an exact optimum.

pi* ~ pi_ref exp(r / beta) is known for all 144 replies; the code that the product runs learns from
rankings that are drawn of the reference by r and Gumbel noise, which is Plackett-Luce.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import torch
from enumerable import LENS, WORDS, start
from test_dpo import dpo
from torch import Tensor

from tunelang.plan.ir import Step, Weights
from tunelang.train import trainable
from tunelang.train.course import Policy
from tunelang.train.forward import Row
from tunelang.train.likelihood import sums
from tunelang.train.losses import IGNORED
from tunelang.train.ranked import Ranked
from tunelang.train.ranking import Lists, Micro
from tunelang.train.reference import Off

PROMPTS = 8  # replies of 2 words: 144 in all
REPLIES = torch.tensor(list(itertools.product(range(WORDS), range(WORDS))))
BETA = 0.5


def toy() -> Policy:
    """A policy of one layer whose reference is its start, adapters off."""
    fields = {"rank": 16, "alpha": 32, "targets": "all_linear", "dropout": 0.0}
    trained = trainable.make_trainable(start(), Weights(kind="lora", fields=fields))
    return Policy(trained, LENS, Off(trained, LENS))


def asked() -> list[list[int]]:
    found: list[list[int]] = torch.randint(
        3, WORDS, (PROMPTS, 2), generator=torch.Generator().manual_seed(1)
    ).tolist()
    return found


def row(prompt: list[int], reply: list[int]) -> Row:
    return Row([*prompt, *reply], [IGNORED, IGNORED, *reply])


def exact(value: Callable[[list[Row]], Tensor]) -> Tensor:
    """log pi(y | x) of every prompt and reply [8, 144]."""
    with torch.no_grad():
        return torch.stack([value([row(x, y) for y in REPLIES.tolist()]) for x in asked()])


def rewards() -> Tensor:
    """Zero mean, unit variance, for every reply."""
    found = torch.randn(WORDS * WORDS, generator=torch.Generator().manual_seed(2))
    return (found - found.mean()) / found.std()


def objective(own: Tensor, reference: Tensor) -> float:
    """J = E[r] - beta KL, exactly."""
    value = (own.exp() * rewards()).sum(1) - BETA * (own.exp() * (own - reference)).sum(1)
    return float(value.mean())


def ranking(at: int, reference: Tensor, replies: int, chance: torch.Generator) -> Ranked:
    """Replies of the reference, put in order by r and Gumbel noise: a Plackett-Luce ranking."""
    drawn = torch.multinomial(reference[at].exp(), replies, generator=chance, replacement=True)
    noise = -torch.log(-torch.log(torch.rand(replies, generator=chance)))
    order = (rewards()[drawn] + noise).argsort(descending=True)
    rows = [row(asked()[at], REPLIES[reply].tolist()) for reply in drawn[order]]
    return Ranked(rows, [float(-place) for place in range(replies)])


def train(policy: Policy, step: Step, replies: int, updates: int = 120) -> None:
    """The loss of the product over fresh rankings."""
    course = Lists(step, None)  # type: ignore[arg-type]
    own = list(trainable.parameters(policy.trained).values())
    optimizer = torch.optim.Adam(own, lr=1e-2)
    chance = torch.Generator().manual_seed(3)
    reference = exact(policy.reference)  # type: ignore[arg-type]
    for at in range(updates):
        if at == updates * 3 // 5:
            optimizer.param_groups[0]["lr"] *= 0.2
        prompts = torch.randint(0, PROMPTS, (64,), generator=chance).tolist()
        taken = [ranking(prompt, reference, replies, chance) for prompt in prompts]
        optimizer.zero_grad()
        (course.loss(policy, Micro(taken, 1.0)) / 64).backward()
        optimizer.step()


def closed(step: Step, replies: int) -> float:
    """The share of J* - J0 that training closes; J <= J* and the reference stays, bit for bit."""
    policy = toy()
    reference = exact(policy.reference)  # type: ignore[arg-type]
    best = float((BETA * torch.logsumexp(reference + rewards() / BETA, 1)).mean())
    start = objective(reference, reference)
    train(policy, step, replies)
    reached = objective(exact(lambda rows: sums(policy.model, rows, LENS)), reference)
    assert reached <= best + 1e-3
    assert torch.equal(exact(policy.reference), reference)  # type: ignore[arg-type]
    return (reached - start) / (best - start)


def test_dpo_closes_a_fifth_of_the_gap_to_the_exact_optimum() -> None:
    """P12: pi* ~ pi_ref exp(r / beta) by enumeration; pairs from the reference (at least 0.2).

    Measured: 0.52. Seen to fail: with chosen and rejected changed over.
    """
    assert closed(dpo("x", fields={"beta": BETA}), 2) >= 0.2


def test_plackett_luce_closes_more_than_half_of_it() -> None:
    """P12: lists of four at the same number of prompts (at least 0.6).

    Measured: 0.68. Seen to fail: with only the first two replies of a list in the loss.
    """
    loss = {"kind": "plackett_luce", "beta": BETA}
    step = dpo("x", fields={"loss": loss}).model_copy(update={"method": "comparative_ranking"})
    assert closed(step, 4) >= 0.6
