"""One rollout made ready to learn from: scores, KL, rewards, advantages; and the update on it.

It knows the four roles but not where prompts come from or how runs are kept.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from tunelang.train import advantages as adv
from tunelang.train import policy_losses as pl
from tunelang.train.evaluate import Lens
from tunelang.train.job import fail
from tunelang.train.losses import log_probabilities
from tunelang.train.roles import Cast, Role, speaking, values
from tunelang.train.rollout import Episode, collate, reply_log_probabilities, reply_logits


@dataclass(frozen=True)
class Settings:
    """The recipe's numbers for an update. `micro` is how many episodes a device holds at once."""

    temperature: float
    clip: float
    value_clip: float
    value_weight: float
    gamma: float
    lam: float
    epochs: int
    minibatches: int
    micro: int
    max_grad_norm: float
    whiten_rewards: bool = False


def settings_of(fields: dict[str, Any], micro: int) -> Settings:
    """From Step.fields."""
    rollout, value = fields["rollout"], fields["value"]
    return Settings(
        temperature=rollout["temperature"],
        clip=fields["clip"],
        value_clip=value["clip"],
        value_weight=value["coefficient"],
        gamma=fields["gamma"],
        lam=fields["lambda"],
        epochs=rollout["epochs"],
        minibatches=rollout["minibatches"],
        micro=micro,
        max_grad_norm=fields["max_grad_norm"],
        whiten_rewards=fields["whiten_rewards"],
    )


@dataclass(frozen=True)
class Experience:
    """Episodes with what was true of them when they were sampled; tensors are [B, R]."""

    rows: Sequence[Episode]
    mask: Tensor
    old: Tensor
    reference: Tensor
    values: Tensor
    advantages: Tensor
    returns: Tensor
    scores: Tensor

    @property
    def kl(self) -> float:
        """Mean over episodes of the summed log-ratio to the reference, in nats."""
        return float(((self.old - self.reference) * self.mask).sum(1).mean())


def micros(count: int, size: int) -> Iterator[range]:
    """Episode numbers in micro-batches."""
    return (range(at, min(at + size, count)) for at in range(0, count, size))


@torch.no_grad()
def log_probabilities_of(
    role: Role, rows: Sequence[Episode], lens: Lens, settings: Settings
) -> Tensor:
    """[B, R] log-probabilities of replies under a role; 0 on padding."""
    width = max(len(row.reply) for row in rows)
    found = torch.zeros(len(rows), width, device=lens.device)
    with speaking(role) as model:
        for chosen in micros(len(rows), settings.micro):
            part = collate([rows[at] for at in chosen], lens.pad, lens.device, width)
            block = torch.zeros(part.mask.shape, device=lens.device)
            block[part.mask] = reply_log_probabilities(model, part, lens, settings.temperature)
            found[chosen.start : chosen.stop] = block
    return found


@torch.no_grad()
def values_of(who: Cast, rows: Sequence[Episode], settings: Settings) -> Tensor:
    """[B, R] values; 0 on padding."""
    width = max(len(row.reply) for row in rows)
    found = torch.zeros(len(rows), width, device=who.lens.device)
    for chosen in micros(len(rows), settings.micro):
        part = collate([rows[at] for at in chosen], who.lens.pad, who.lens.device, width)
        block = torch.zeros(part.mask.shape, device=who.lens.device)
        block[part.mask] = values(who.critic, part, who.lens)
        found[chosen.start : chosen.stop] = block
    return found


def experience(
    who: Cast, rows: Sequence[Episode], scores: Tensor, coefficient: float, settings: Settings
) -> Experience:
    """Log-probabilities, values and advantages of a rollout, all before any update."""
    old = log_probabilities_of(who.policy, rows, who.lens, settings)
    reference = log_probabilities_of(who.reference, rows, who.lens, settings)
    held = values_of(who, rows, settings)
    mask = collate(rows, who.lens.pad, who.lens.device).mask
    rewards = adv.token_rewards(old, reference, scores, coefficient, mask)
    if settings.whiten_rewards:
        rewards = adv.whitened(rewards, mask, shift=False)
    gained, returns = adv.gae(rewards, held, mask, settings.gamma, settings.lam)
    return Experience(rows, mask, old, reference, held, adv.whitened(gained, mask), returns, scores)


@dataclass
class Stats:
    """Sums over micro-batches of one rollout's updates."""

    policy_loss: float = 0.0
    value_loss: float = 0.0
    clipped: float = 0.0
    entropy: float = 0.0
    kl_step: float = 0.0
    first_ratio: float = 1.0
    micros: int = 0

    def means(self) -> dict[str, float]:
        count = max(1, self.micros)
        return {
            "policy_loss": self.policy_loss / count,
            "value_loss": self.value_loss / count,
            "clip_fraction": self.clipped / count,
            "entropy": self.entropy / count,
        }


def learn(
    who: Cast,
    found: Experience,
    optimizers: Sequence[Optimizer],
    settings: Settings,
    order: torch.Generator,
) -> Stats:
    """Every epoch and minibatch of updates on one rollout."""
    stats = Stats()
    count = len(found.rows)
    size = -(-count // settings.minibatches)
    for _ in range(settings.epochs):
        shuffled = torch.randperm(count, generator=order).tolist()
        for at in range(0, count, size):
            _minibatch(who, found, (shuffled[at : at + size], stats), optimizers, settings)
    return stats


def _minibatch(
    who: Cast,
    found: Experience,
    chosen: tuple[list[int], Stats],
    optimizers: Sequence[Optimizer],
    settings: Settings,
) -> None:
    """One update: gradients summed over micro-batches, each loss over the minibatch's tokens."""
    numbers, stats = chosen
    numbers = sorted(numbers, key=lambda at: len(found.rows[at].ids))
    total = int(found.mask[numbers].sum())
    for optimizer in optimizers:
        optimizer.zero_grad(set_to_none=True)
    for block in micros(len(numbers), settings.micro):
        _micro(who, found, ([numbers[at] for at in block], total, stats), settings)
    for optimizer in optimizers:
        weights = [weight for group in optimizer.param_groups for weight in group["params"]]
        norm = float(nn.utils.clip_grad_norm_(weights, settings.max_grad_norm))
        if not math.isfinite(norm):
            help = "lower lr and value.lr, or use precision = fp32"
            fail("TL735", "loss-not-finite", f"the norm of the gradients is {norm}", help)
        optimizer.step()


def _micro(
    who: Cast, found: Experience, chosen: tuple[list[int], int, Stats], settings: Settings
) -> None:
    """Policy and value losses of a few episodes, backward one after the other."""
    numbers, total, stats = chosen
    part = collate(
        [found.rows[at] for at in numbers], who.lens.pad, who.lens.device, found.mask.shape[1]
    )
    mask = part.mask
    old, gained = found.old[numbers][mask], found.advantages[numbers][mask]
    with speaking(who.policy) as model:
        logits = reply_logits(model, part, who.lens, settings.temperature)
        new = log_probabilities(logits, part.tokens[mask])
        policy = pl.clipped_policy_sum(new, old, gained, settings.clip) / total
        policy.backward()  # type: ignore[no-untyped-call]
    held, returns = found.values[numbers][mask], found.returns[numbers][mask]
    value = (
        pl.clipped_value_sum(values(who.critic, part, who.lens), held, returns, settings.value_clip)
        / total
    )
    (settings.value_weight * value).backward()  # type: ignore[no-untyped-call]
    _note(
        stats,
        (new.detach(), old, logits.detach()),
        (float(policy.detach()), float(value.detach())),
        settings,
    )


def _note(
    stats: Stats,
    seen: tuple[Tensor, Tensor, Tensor],
    losses: tuple[float, float],
    settings: Settings,
) -> None:
    new, old, logits = seen
    if stats.micros == 0:
        stats.first_ratio = float((new - old).exp().sub(1).abs().max()) + 1
    stats.policy_loss += losses[0]
    stats.value_loss += losses[1]
    stats.clipped += float(pl.clipped_share(new, old, settings.clip))
    stats.entropy += float(pl.entropy(logits))
    stats.kl_step += float(pl.approximate_kl(new, old))
    stats.micros += 1
