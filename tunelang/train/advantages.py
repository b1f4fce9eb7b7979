"""Rewards and advantages of sampled replies, token by token. Pure functions on [B, R] tensors.

B episodes, R tokens of the longest reply; `mask` is True on real tokens, which come first.
"""

from __future__ import annotations

import torch
from torch import Tensor


def token_rewards(
    old: Tensor, reference: Tensor, scores: Tensor, coefficient: float, mask: Tensor
) -> Tensor:
    """r_t = -beta (log pi_old - log pi_ref), and the score [B] on the last real token.

    That is the end-of-text token itself where the reply ends, never the padding after it (TRL
    issue 3750). Ziegler et al. 2019 (arXiv 1909.08593), eq. 2.
    """
    rewards = -coefficient * (old - reference) * mask
    last = mask.sum(dim=1) - 1
    rewards[torch.arange(len(rewards), device=rewards.device), last] += scores
    return rewards


def gae(
    rewards: Tensor, values: Tensor, mask: Tensor, gamma: float, lam: float
) -> tuple[Tensor, Tensor]:
    """Advantages and returns (Schulman et al. 2015, arXiv 1506.02438, eq. 16).

    A_t = sum_l (gamma lambda)^l delta_{t+l}, delta_t = r_t + gamma V_{t+1} - V_t, V = 0 after the
    end; returns are A + V. All [B, R].
    """
    held = values * mask
    advantages = torch.zeros_like(rewards)
    following = torch.zeros_like(rewards[:, 0])
    for at in reversed(range(rewards.shape[1])):
        after = held[:, at + 1] if at + 1 < rewards.shape[1] else torch.zeros_like(following)
        delta = rewards[:, at] + gamma * after - held[:, at]
        following = (delta + gamma * lam * following) * mask[:, at]
        advantages[:, at] = following
    return advantages, advantages + held


def whitened(values: Tensor, mask: Tensor, *, shift: bool = True) -> Tensor:
    """Unit variance over real tokens, and zero mean unless `shift` is false; 0 elsewhere."""
    real = values[mask]
    mean = real.mean()
    scaled = (values - mean) * torch.rsqrt(real.var(unbiased=False) + 1e-8)
    return (scaled if shift else scaled + mean) * mask
