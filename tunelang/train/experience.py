"""One rollout made ready to learn from, and the updates on it, whatever the method.

An `Algorithm` (ppo, grpo or rloo) turns scores into advantages and a micro-batch into gradients;
what they share is here. It does not know where prompts come from or how runs are kept.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from tunelang.train import policy_losses as pl
from tunelang.train.evaluate import Lens
from tunelang.train.job import fail
from tunelang.train.losses import log_probabilities
from tunelang.train.roles import Cast, Role, speaking
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
    """A micro-batch: which episodes, as tensors, and the whole minibatch's replies and tokens."""

    numbers: list[int]
    episodes: Episodes
    replies: int
    tokens: int


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
    optimizers: Sequence[Optimizer]
    order: torch.Generator
    beside: Callable[[int], float] | None = None


def micros(count: int, size: int) -> Iterator[range]:
    """Episode numbers in micro-batches."""
    return (range(at, min(at + size, count)) for at in range(0, count, size))


@torch.no_grad()
def by_micros(
    rows: Sequence[Episode], lens: Lens, micro: int, of: Callable[[Episodes], Tensor]
) -> Tensor:
    """[B, R] of what `of` gives for the real tokens [N] of each micro-batch; 0 on padding."""
    width = max(len(row.reply) for row in rows)
    found = torch.zeros(len(rows), width, device=lens.device)
    for chosen in micros(len(rows), micro):
        part = collate([rows[at] for at in chosen], lens.pad, lens.device, width)
        block = torch.zeros(part.mask.shape, device=lens.device)
        block[part.mask] = of(part)
        found[chosen.start : chosen.stop] = block
    return found


def log_probabilities_of(
    role: Role, rows: Sequence[Episode], lens: Lens, settings: Settings
) -> Tensor:
    """[B, R] log-probabilities of replies under a role; 0 on padding."""
    with speaking(role) as model:
        return by_micros(
            rows,
            lens,
            settings.micro,
            lambda part: reply_log_probabilities(model, part, lens, settings.temperature),
        )


def rollout(
    who: Cast, rows: Sequence[Episode], scores: Tensor, coefficient: float, settings: Settings
) -> Rollout:
    """What policy and reference think of the replies, before any update."""
    old = log_probabilities_of(who.policy, rows, who.lens, settings)
    reference = log_probabilities_of(who.reference, rows, who.lens, settings)
    mask = collate(rows, who.lens.pad, who.lens.device).mask
    return Rollout(rows, mask, old, reference, scores, coefficient)


@dataclass
class Stats:
    """Sums over the updates on one rollout."""

    losses: dict[str, float]
    first_ratio: float = 1.0
    clipped: float = 0.0
    entropy: float = 0.0
    micros: int = 0
    updates: int = 0

    def means(self) -> dict[str, float]:
        """Losses by update; the rest by micro-batch."""
        losses = {name: loss / max(1, self.updates) for name, loss in self.losses.items()}
        count = max(1, self.micros)
        return {**losses, "clip_fraction": self.clipped / count, "entropy": self.entropy / count}

    def add(self, losses: dict[str, float]) -> None:
        for name, loss in losses.items():
            self.losses[name] = self.losses.get(name, 0.0) + loss

    def note(self, new: Tensor, old: Tensor, logits: Tensor, clip: tuple[float, float]) -> None:
        """Figures of a micro-batch's real tokens."""
        if self.micros == 0:
            self.first_ratio = float((new - old).exp().sub(1).abs().max()) + 1
        self.clipped += float(pl.clipped_share(new, old, *clip))
        self.entropy += float(pl.entropy(logits))
        self.micros += 1


def learn(who: Cast, found: Experience, learner: Learner) -> Stats:
    """Every epoch and minibatch of updates on one rollout."""
    stats, settings = Stats({}), learner.algorithm.settings
    count = len(found.of.rows)
    size = -(-count // settings.minibatches)
    for _ in range(settings.epochs):
        shuffled = torch.randperm(count, generator=learner.order).tolist()
        for at in range(0, count, size):
            _minibatch(who, found, (shuffled[at : at + size], stats), learner)
    return stats


def _minibatch(
    who: Cast, found: Experience, chosen: tuple[list[int], Stats], learner: Learner
) -> None:
    """One update: gradients summed over micro-batches, each loss over the whole minibatch."""
    numbers, stats = chosen
    settings = learner.algorithm.settings
    numbers = sorted(numbers, key=lambda at: len(found.of.rows[at].ids))
    tokens = int(found.of.mask[numbers].sum())
    for optimizer in learner.optimizers:
        optimizer.zero_grad(set_to_none=True)
    for block in micros(len(numbers), settings.micro):
        some = [numbers[at] for at in block]
        rows, width = [found.of.rows[at] for at in some], found.of.mask.shape[1]
        episodes = collate(rows, who.lens.pad, who.lens.device, width)
        part = Part(some, episodes, len(numbers), tokens)
        learner.algorithm.backward(who, found, part, stats)
    if learner.beside:
        stats.add({"pretraining_loss": learner.beside(stats.updates)})
    for optimizer in learner.optimizers:
        step(optimizer, settings.max_grad_norm)
    stats.updates += 1


def step(optimizer: Optimizer, most: float) -> None:
    """One update of one optimizer, its gradients clipped to a norm of `most`."""
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    norm = float(nn.utils.clip_grad_norm_(weights, most))
    if not math.isfinite(norm):
        help = "lower the learning rates, or use precision = fp32"
        fail("TL735", "loss-not-finite", f"the norm of the gradients is {norm}", help)
    optimizer.step()


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
    with speaking(who.policy) as model:
        logits = reply_logits(model, part.episodes, who.lens, temperature)
        new = log_probabilities(logits, part.episodes.tokens[mask])
        found = loss(new)
        found.backward()  # type: ignore[no-untyped-call]
    stats.add({"policy_loss": float(found.detach())})
    stats.note(new.detach(), old, logits.detach(), clip)
