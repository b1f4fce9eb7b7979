"""PPO's losses as pure functions of log-probabilities, values, advantages and a reply mask.

Tensors are [B, R]: B episodes, R tokens of the longest reply; `mask` is True on real tokens.
Sums, not means: the caller divides by the tokens of the whole minibatch.
"""

from __future__ import annotations

import torch
from torch import Tensor


def clipped_policy_sum(new: Tensor, old: Tensor, advantages: Tensor, clip: float) -> Tensor:
    """sum max(-A rho, -A clip(rho, 1 - e, 1 + e)), rho = exp(new - old) (arXiv 1707.06347, eq. 7).

    All [N] over real tokens -> [].
    """
    ratio = (new - old).exp()
    return torch.maximum(-advantages * ratio, -advantages * ratio.clamp(1 - clip, 1 + clip)).sum()


def clipped_value_sum(new: Tensor, old: Tensor, returns: Tensor, clip: float) -> Tensor:
    """sum 1/2 max((V - R)^2, (clip(V, V_old - e, V_old + e) - R)^2); all [N] -> [].

    The form of lm-human-preferences (arXiv 1909.08593) and of arXiv 2403.17031, detail 20.
    """
    held = torch.minimum(torch.maximum(new, old - clip), old + clip)
    return 0.5 * torch.maximum((new - returns).square(), (held - returns).square()).sum()


def clipped_share(new: Tensor, old: Tensor, clip: float) -> Tensor:
    """Share of tokens whose ratio lies outside 1 +- clip; [N] -> []."""
    return ((new - old).exp() - 1).abs().gt(clip).float().mean()


def approximate_kl(new: Tensor, old: Tensor) -> Tensor:
    """Schulman's k3 estimate of KL(old, new): mean (rho - 1) - log rho, never negative."""
    difference = new - old
    return (difference.exp() - 1 - difference).mean()


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
