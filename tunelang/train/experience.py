"""One rollout made ready to learn from, and the updates on it, whatever the method.

An `Algorithm` (ppo, grpo or rloo) turns scores into advantages and a micro-batch into gradients;
what they share is here. It does not know where prompts come from or how runs are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from tunelang.train import optimise
from tunelang.train.engines.engine import Engine
from tunelang.train.evaluate import Lens
from tunelang.train.losses import log_probabilities
from tunelang.train.policy_stats import Stats, merged
from tunelang.train.roles import POLICY, VALUE, Cast, Role, recomputing, speaking
from tunelang.train.rollout import (
    Episode,
    Episodes,
    collate,
    reply_log_probabilities,
    reply_logits,
)


@dataclass(frozen=True)
class Settings:
    """The recipe's numbers for an update. `micro` is how many episodes a device holds at once."""

    temperature: float
    epochs: int
    minibatches: int
    micro: int
    max_grad_norm: float


def settings_of(fields: dict[str, Any], micro: int) -> Settings:
    """From Step.fields."""
    rollout = fields["rollout"]
    return Settings(
        temperature=rollout["temperature"],
        epochs=rollout["epochs"],
        minibatches=rollout["minibatches"],
        micro=micro,
        max_grad_norm=fields["max_grad_norm"],
    )


@dataclass(frozen=True)
class Rollout:
    """Episodes with what was true of them when they were sampled: scores [B], the rest [B, R].

    `coefficient` is the weight of KL (beta) in force.
    """

    rows: Sequence[Episode]
    mask: Tensor
    old: Tensor
    reference: Tensor
    scores: Tensor
    coefficient: float

    @property
    def kl(self) -> float:
        """Mean over episodes of the summed log-ratio to the reference, in nats."""
        return float(self.kls().mean())

    def kls(self) -> Tensor:
        """The summed log-ratio to the reference of every episode [B]."""
        return ((self.old - self.reference) * self.mask).sum(1)


@dataclass(frozen=True)
class Experience:
    """A rollout and its advantages [B, R]; values and returns [B, R] where there is a critic."""

    of: Rollout
    advantages: Tensor
    values: Tensor | None = None
    returns: Tensor | None = None


@dataclass(frozen=True)
class Part:
    """A micro-batch: which episodes, as tensors, and the whole minibatch's replies and tokens.

    `ends` are the units whose gradients it completes. One that does not count is computed to keep
    step with the other processes, and adds nothing.
    """

    numbers: list[int]
    episodes: Episodes
    replies: int
    tokens: int
    ends: frozenset[str] = frozenset()
    counts: bool = True


class Algorithm(Protocol):
    """What tells ppo, grpo and rloo apart."""

    @property
    def settings(self) -> Settings:
        """What they share."""

    def experience(self, who: Cast, found: Rollout) -> Experience:
        """Advantages of a rollout, before any update."""

    def backward(self, who: Cast, found: Experience, part: Part, stats: Stats) -> None:
        """Add the gradients of a micro-batch, and what they were to the figures."""


@dataclass(frozen=True)
class Learner:
    """How a rollout is learnt from. `beside` adds other gradients to the update of a number."""

    algorithm: Algorithm
    order: torch.Generator
    beside: Callable[[int], float] | None = None


def micros(count: int, size: int) -> Iterator[range]:
    """Episode numbers in micro-batches."""
    return (range(at, min(at + size, count)) for at in range(0, count, size))


def fitting(count: int, micro: int, world: int) -> int:
    """Episodes in a micro-batch: what a device holds, or less where every process gets one."""
    return max(1, min(micro, -(-count // world)))


@torch.no_grad()
def by_micros(
    engine: Engine,
    rows: Sequence[Episode],
    lens: Lens,
    micro: int,
    of: Callable[[Episodes], Tensor],
) -> Tensor:
    """[B, R] of what `of` gives for the real tokens [N] of each micro-batch; 0 on padding.

    Every process computes its share and gets the whole.
    """
    width = max(len(row.reply) for row in rows)
    blocks = list(micros(len(rows), fitting(len(rows), micro, engine.world)))

    def block(chosen: range) -> Tensor:
        part = collate([rows[at] for at in chosen], lens.pad, lens.device, width)
        found = torch.zeros(part.mask.shape, device=lens.device)
        found[part.mask] = of(part)
        return found.cpu()

    made = engine.together([block(chosen) for chosen in engine.share(blocks)])
    return torch.cat(made[: len(blocks)]).to(lens.device)


def log_probabilities_of(
    role: Role, rows: Sequence[Episode], lens: Lens, settings: Settings
) -> Tensor:
    """[B, R] log-probabilities of replies under a role; 0 on padding."""

    def of(part: Episodes) -> Tensor:
        return role.compute(
            lambda model: reply_log_probabilities(model, part, lens, settings.temperature)
        )

    return by_micros(role.engine, rows, lens, settings.micro, of)


def rollout(
    who: Cast, rows: Sequence[Episode], scores: Tensor, coefficient: float, settings: Settings
) -> Rollout:
    """What policy and reference think of the replies, before any update."""
    old = log_probabilities_of(who.policy, rows, who.lens, settings)
    reference = log_probabilities_of(who.reference, rows, who.lens, settings)
    mask = collate(rows, who.lens.pad, who.lens.device).mask
    return Rollout(rows, mask, old, reference, scores, coefficient)


def learn(who: Cast, found: Experience, learner: Learner) -> Stats:
    """Every epoch and minibatch of updates on one rollout; the figures are those of all processes.

    Every process shuffles alike, and takes its share of the micro-batches.
    """
    stats, settings = Stats({}), learner.algorithm.settings
    count = len(found.of.rows)
    size = -(-count // settings.minibatches)
    with recomputing(who):
        for _ in range(settings.epochs):
            shuffled = torch.randperm(count, generator=learner.order).tolist()
            for at in range(0, count, size):
                _minibatch(who, found, (shuffled[at : at + size], stats), learner)
    return merged(who.policy.engine.together([stats]))


def _minibatch(
    who: Cast, found: Experience, chosen: tuple[list[int], Stats], learner: Learner
) -> None:
    """One update: gradients summed over micro-batches, each loss over the whole minibatch."""
    numbers, stats = chosen
    numbers = sorted(numbers, key=lambda at: len(found.of.rows[at].ids))
    for part in parts_of(who, found, numbers, learner):
        learner.algorithm.backward(who, found, part, stats)
    if learner.beside:
        stats.add({"pretraining_loss": learner.beside(stats.updates)})
    for unit in units(who):
        optimise.update(who.policy.engine, unit, learner.algorithm.settings.max_grad_norm)
    stats.updates += 1


def units(who: Cast) -> list[str]:
    """What has an optimizer of its own."""
    return [POLICY, VALUE] if who.critic else [POLICY]


def parts_of(who: Cast, found: Experience, numbers: list[int], learner: Learner) -> Iterator[Part]:
    """This process's micro-batches of a minibatch; texts that come beside are the policy's last."""
    engine, mask = who.policy.engine, found.of.mask
    tokens = int(mask[numbers].sum())
    size = fitting(len(numbers), learner.algorithm.settings.micro, engine.world)
    blocks = list(micros(len(numbers), size))
    mine = list(zip(engine.share(blocks), engine.counts(len(blocks)), strict=True))
    ends = frozenset(units(who)) - {POLICY} if learner.beside else frozenset(units(who))
    for place, (block, counts) in enumerate(mine):
        some = [numbers[at] for at in block]
        rows = [found.of.rows[at] for at in some]
        episodes = collate(rows, who.lens.pad, who.lens.device, mask.shape[1])
        done = ends if place == len(mine) - 1 else frozenset[str]()
        yield Part(some, episodes, len(numbers), tokens, done, counts)


def backward(engine: Engine, unit: str, loss: Tensor, part: Part) -> None:
    """The gradients of a micro-batch's loss; none from one that does not count."""
    engine.backward(unit, loss if part.counts else loss * 0, last=unit in part.ends)


def learn_policy(
    who: Cast,
    part: Part,
    loss: Callable[[Tensor], Tensor],
    noted: tuple[Tensor, tuple[float, float], Stats],
    temperature: float,
) -> None:
    """Backward of a loss of the policy's log-probabilities [N] of the real tokens, as they are now.

    `noted` are those of the sampling policy [N], the bounds of the ratio and the figures.
    """
    old, clip, stats = noted
    mask = part.episodes.mask

    def work(model: Any) -> tuple[Tensor, Tensor, Tensor]:
        logits = reply_logits(model, part.episodes, who.lens, temperature)
        new = log_probabilities(logits, part.episodes.tokens[mask])
        return loss(new), new.detach(), logits.detach()

    with speaking(who.policy):  # in the backward pass, too: it may compute activations again
        found, new, logits = who.policy.compute(work, last=POLICY in part.ends)
        backward(who.policy.engine, POLICY, found, part)
    if part.counts:
        stats.add({"policy_loss": float(found.detach())})
        stats.note(new, old, logits, clip)
