"""`run` for rloo: REINFORCE on whole replies, each compared with the others to its prompt.

Ahmadian et al. 2024 (arXiv 2402.14740): a reply is one action, its reward R = score - beta KL, its
baseline the mean R of the other replies to the same prompt. Updates after the first on a rollout
are clipped at the ratio of whole replies, as in TRL.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from tunelang.plan.ir import Step
from tunelang.train import advantages as adv
from tunelang.train import policy_loop
from tunelang.train import policy_losses as pl
from tunelang.train.experience import (
    Experience,
    Part,
    Rollout,
    Settings,
    learn_policy,
    settings_of,
)
from tunelang.train.job import Job
from tunelang.train.policy_stats import Stats
from tunelang.train.roles import Cast
from tunelang.train.stage import Metrics


@dataclass(frozen=True)
class Rloo:
    """The recipe's numbers."""

    settings: Settings
    group: int
    clip: float

    def experience(self, who: Cast, found: Rollout) -> Experience:
        """Leave-one-out advantages of score - beta KL, the same for every token of a reply."""
        rewards = found.scores - found.coefficient * found.kls()
        gained = adv.leave_one_out(rewards, self.group)
        return Experience(found, gained[:, None] * found.mask)

    def backward(self, who: Cast, found: Experience, part: Part, stats: Stats) -> None:
        """The clipped loss of whole replies, over the replies of the minibatch."""
        mask, numbers = part.episodes.mask, part.numbers
        old, gained = found.of.old[numbers], found.advantages[numbers][:, 0]

        def loss(new: Tensor) -> Tensor:
            whole = torch.zeros_like(old).masked_scatter(mask, new).sum(1)
            return pl.clipped_policy_sum(whole, old.sum(1), gained, self.clip) / part.replies

        noted = (old[mask], (self.clip, self.clip), stats)
        learn_policy(who, part, loss, noted, self.settings.temperature)


def algorithm(fields: dict[str, Any], micro: int) -> Rloo:
    """From Step.fields."""
    return Rloo(settings_of(fields, micro), fields["rollout"]["group"], fields["clip"])


def run(step: Step, job: Job) -> Metrics:
    """Train the policy; measure it on held-out prompts before and after; write the product."""
    return policy_loop.run(step, job, algorithm(step.fields, step.place.micro))
