"""`run` for grpo: replies to a prompt are compared with each other, and no critic is needed.

Shao et al. 2024 (arXiv 2402.03300, DeepSeekMath), section 4.1; `scale` and `average` choose
between it, Dr. GRPO (arXiv 2503.20783) and DAPO (arXiv 2503.14476).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

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
class Grpo:
    """The recipe's numbers. `average` is replies, tokens or length; `longest` a reply's most."""

    settings: Settings
    group: int
    scale: str
    average: str
    clip: tuple[float, float]
    longest: int

    def experience(self, who: Cast, found: Rollout) -> Experience:
        """The same advantage for every token of a reply (outcome supervision)."""
        gained = adv.group_relative(found.scores, self.group, self.scale)
        return Experience(found, gained[:, None] * found.mask)

    def backward(self, who: Cast, found: Experience, part: Part, stats: Stats) -> None:
        """The clipped loss and the KL to the reference, which GRPO keeps out of the reward."""
        mask, numbers = part.episodes.mask, part.numbers
        old, base = found.of.old[numbers][mask], found.of.reference[numbers][mask]
        gained, weights = found.advantages[numbers][mask], self.weights(mask)
        count = {"replies": part.replies, "tokens": part.tokens}.get(
            self.average, part.replies * self.longest
        )

        def loss(new: Tensor) -> Tensor:
            seen, beta = (new, old, base), found.of.coefficient
            return pl.group_relative_sum(seen, gained, weights, self.clip, beta) / count

        learn_policy(who, part, loss, (old, self.clip, stats), self.settings.temperature)

    def weights(self, mask: Tensor) -> Tensor:
        """The weight of each real token [N]: 1/|o_i| where replies count alike, else 1."""
        each = mask.float()
        if self.average == "replies":
            each = each / each.sum(1, keepdim=True).clamp(min=1)
        return each[mask]


def algorithm(fields: dict[str, Any], micro: int) -> Grpo:
    """From Step.fields."""
    rollout, clip = fields["rollout"], fields["clip"]
    return Grpo(
        settings_of(fields, micro),
        rollout["group"],
        fields["scale"],
        fields["average"],
        (clip["low"], clip["high"]),
        rollout["reply"],
    )


def run(step: Step, job: Job) -> Metrics:
    """Train the policy; measure it on held-out prompts before and after; write the product."""
    return policy_loop.run(step, job, algorithm(step.fields, step.place.micro))
