"""The losses of ppo, grpo and rloo: pure functions of log-probabilities, values and advantages.

Tensors are [N], over the N real tokens of a few replies, unless they say otherwise. Sums, not
means: the caller divides by the tokens or replies of the whole minibatch.
"""

from __future__ import annotations

import torch
from torch import Tensor


def clipped(new: Tensor, old: Tensor, advantages: Tensor, low: float, high: float) -> Tensor:
    """max(-A rho, -A clip(rho, 1 - low, 1 + high)), rho = exp(new - old); [N] -> [N].

    arXiv 1707.06347, eq. 7; bounds of their own as in DAPO (arXiv 2503.14476, eq. 10).
    """
    ratio = (new - old).exp()
    return torch.maximum(-advantages * ratio, -advantages * ratio.clamp(1 - low, 1 + high))


def clipped_policy_sum(new: Tensor, old: Tensor, advantages: Tensor, clip: float) -> Tensor:
    """The sum of `clipped` with equal bounds: PPO's policy loss; all [N] -> []."""
    return clipped(new, old, advantages, clip, clip).sum()


def k3(new: Tensor, reference: Tensor) -> Tensor:
    """Schulman's estimate of KL(new, reference): rho - 1 - log rho, rho = exp(reference - new).

    Never negative; arXiv 2402.03300, eq. 4; [N] -> [N].
    """
    gap = reference - new
    return gap.exp() - 1 - gap


def group_relative_sum(
    seen: tuple[Tensor, Tensor, Tensor],
    advantages: Tensor,
    weights: Tensor,
    clip: tuple[float, float],
    beta: float,
) -> Tensor:
    """sum_t w_t (clipped_t + beta k3_t): GRPO (arXiv 2402.03300, eq. 3); all [N] -> [].

    `seen` are the log-probabilities now, when sampled and under the reference. w = 1/|o_i| and a
    division by the replies is the paper's mean of means; w = 1 and a division by tokens is DAPO's.
    """
    new, old, reference = seen
    terms = clipped(new, old, advantages, *clip) + beta * k3(new, reference)
    return (weights * terms).sum()


def clipped_value_sum(new: Tensor, old: Tensor, returns: Tensor, clip: float) -> Tensor:
    """sum 1/2 max((V - R)^2, (clip(V, V_old - e, V_old + e) - R)^2); all [N] -> [].

    The form of lm-human-preferences (arXiv 1909.08593) and of arXiv 2403.17031, detail 20.
    """
    held = torch.minimum(torch.maximum(new, old - clip), old + clip)
    return 0.5 * torch.maximum((new - returns).square(), (held - returns).square()).sum()


def clipped_share(new: Tensor, old: Tensor, low: float, high: float) -> Tensor:
    """Share of tokens whose ratio lies outside 1 - low and 1 + high; [N] -> []."""
    off = (new - old).exp() - 1
    return (off.lt(-low) | off.gt(high)).float().mean()


def entropy(logits: Tensor) -> Tensor:
    """Mean entropy in nats of the distributions that tokens were drawn from; [N, V] -> []."""
    logs = torch.log_softmax(logits.float(), dim=-1)
    return -(logs.exp() * logs).sum(-1).mean()


def steered(coefficient: float, kl: float, target: float, share: float) -> float:
    """The next KL coefficient: beta (1 + clip(KL / target - 1, -0.2, 0.2) n / horizon).

    `share` is n / horizon. Ziegler et al. 2019 (arXiv 1909.08593), section 2.2.
    """
    off = max(-0.2, min(0.2, kl / target - 1))
    return coefficient * (1 + off * share)
