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


def group_relative(scores: Tensor, group: int, scale: str) -> Tensor:
    """A_i = r_i - mean of its group, over a standard deviation; scores [B] -> [B].

    Replies to one prompt stand together, `group` of them. `scale` "group" divides by the group's
    deviation (arXiv 2402.03300, eq. 3 and section 4.1.2), "batch" by that of all scores, "none" by
    nothing: Dr. GRPO (arXiv 2503.20783), because a group's deviation favours prompts that are
    nearly solved or nearly hopeless. 1e-4 is TRL's, so that deviations near 0 make nothing large.
    """
    groups = scores.view(-1, group)
    centred = unless_flat(groups, groups - groups.mean(dim=1, keepdim=True))
    if scale == "group":
        centred = centred / (groups.std(dim=1, keepdim=True) + 1e-4)
    elif scale == "batch":
        centred = centred / (scores.std() + 1e-4)
    return centred.flatten()


def leave_one_out(scores: Tensor, group: int) -> Tensor:
    """A_i = r_i - mean of the other replies to its prompt; [B] -> [B] (arXiv 2402.14740, eq. 8)."""
    groups = scores.view(-1, group)
    others = (groups.sum(dim=1, keepdim=True) - groups) / (group - 1)
    return unless_flat(groups, groups - others).flatten()


def unless_flat(groups: Tensor, advantages: Tensor) -> Tensor:
    """Advantages [P, K], but 0 where all scores of a group are equal: rounding is no signal, and
    Adam would scale it up."""
    flat = groups.amax(dim=1, keepdim=True) == groups.amin(dim=1, keepdim=True)
    return advantages.masked_fill(flat, 0.0)
