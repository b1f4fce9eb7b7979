"""`run` for ppo: sample, score, and raise the score within a KL leash, with a value model.

Ours, because TRL removed its PPO (1.13). Schulman et al. 2017 (arXiv 1707.06347), Ziegler et al.
2019 (arXiv 1909.08593), details of arXiv 2403.17031. Dropout is off, every role is exact, and a
run that is stopped goes on bit for bit.
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
    backward,
    by_micros,
    learn_policy,
    settings_of,
)
from tunelang.train.job import Job
from tunelang.train.policy_stats import Stats
from tunelang.train.roles import VALUE, Cast, Critic, speaking, values
from tunelang.train.stage import Metrics


@dataclass(frozen=True)
class Ppo:
    """The recipe's numbers."""

    settings: Settings
    clip: float
    value_clip: float
    value_weight: float
    gamma: float
    lam: float
    whiten_rewards: bool = False

    def experience(self, who: Cast, found: Rollout) -> Experience:
        """GAE over rewards that charge KL token by token; advantages whitened."""
        critic, micro = critic_of(who), self.settings.micro
        engine = critic.role.engine
        held = by_micros(
            engine, found.rows, who.lens, micro, lambda part: values(critic, part, who.lens)
        )
        rewards = adv.token_rewards(
            found.old, found.reference, found.scores, found.coefficient, found.mask
        )
        if self.whiten_rewards:
            rewards = adv.whitened(rewards, found.mask, shift=False)
        gained, returns = adv.gae(rewards, held, found.mask, self.gamma, self.lam)
        return Experience(found, adv.whitened(gained, found.mask), held, returns)

    def backward(self, who: Cast, found: Experience, part: Part, stats: Stats) -> None:
        """Policy and value losses over the minibatch's tokens, backward one after the other."""
        mask, numbers = part.episodes.mask, part.numbers
        old, gained = found.of.old[numbers][mask], found.advantages[numbers][mask]

        def loss(new: Tensor) -> Tensor:
            return pl.clipped_policy_sum(new, old, gained, self.clip) / part.tokens

        noted = (old, (self.clip, self.clip), stats)
        learn_policy(who, part, loss, noted, self.settings.temperature)
        self._learn_value(who, found, part, stats)

    def _learn_value(self, who: Cast, found: Experience, part: Part, stats: Stats) -> None:
        assert found.values is not None and found.returns is not None
        mask, numbers = part.episodes.mask, part.numbers
        held, returns = found.values[numbers][mask], found.returns[numbers][mask]
        critic = critic_of(who)
        with speaking(critic.role):  # in the backward pass, too
            now = values(critic, part.episodes, who.lens, last=VALUE in part.ends)
            value = pl.clipped_value_sum(now, held, returns, self.value_clip) / part.tokens
            backward(critic.role.engine, VALUE, self.value_weight * value, part)
        if part.counts:
            stats.add({"value_loss": float(value.detach())})


def critic_of(who: Cast) -> Critic:
    """The value model, which `cast` gives every step with a `value` block."""
    assert who.critic is not None
    return who.critic


def algorithm(fields: dict[str, Any], micro: int) -> Ppo:
    """From Step.fields."""
    value = fields["value"]
    return Ppo(
        settings_of(fields, micro),
        clip=fields["clip"],
        value_clip=value["clip"],
        value_weight=value["coefficient"],
        gamma=fields["gamma"],
        lam=fields["lambda"],
        whiten_rewards=fields["whiten_rewards"],
    )


def run(step: Step, job: Job) -> Metrics:
    """Train the policy; measure it on held-out prompts before and after; write the product."""
    return policy_loop.run(step, job, algorithm(step.fields, step.place.micro))
