"""Losses of pairs and of single judgements as pure functions; sums, all in fp32 or better.

A log-ratio is log pi(y | x) - log pi_ref(y | x), summed over the tokens of a reply.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class KTO:
    """KTO's beta, and what a good and a bad reply weigh."""

    beta: float
    desirable: float = 1.0
    undesirable: float = 1.0


def dpo_sum(
    gap: Tensor, beta: float, smoothing: float = 0.0, margin: Tensor | None = None
) -> Tensor:
    """sum_p -(1 - e) log sigma(h) - e log sigma(-h), h = beta gap - margin; gap [P] -> [].

    `gap` is the log-ratio of the chosen minus that of the rejected reply. Rafailov et al. 2023
    (arXiv 2305.18290), eq. 7; smoothing e as in conservative DPO, section "cDPO" of the reference
    code (eric-mitchell/direct-preference-optimization); margin of Amini et al. 2024 (ODPO, arXiv
    2402.10571), eq. 7.
    """
    logits = beta * gap if margin is None else beta * gap - margin
    wrong = smoothing * F.logsigmoid(-logits) if smoothing else 0.0
    return -((1 - smoothing) * F.logsigmoid(logits) + wrong).sum()


def ipo_sum(gap: Tensor, beta: float) -> Tensor:
    """sum_p (gap - 1 / (2 beta))^2; gap [P] -> [].

    Azar et al. 2023 (arXiv 2310.12036), eq. 17, beta being its tau. Log-ratios over their length,
    as its authors advise and TRL does.
    """
    return (gap - 1 / (2 * beta)).square().sum()


def simpo_sum(chosen: Tensor, rejected: Tensor, beta: float, gamma: float) -> Tensor:
    """sum_p -log sigma(beta (p_w - p_l) - gamma), p the mean log-probability of a token; [P] -> [].

    Meng et al. 2024 (arXiv 2405.14734), eq. 6.
    """
    return -F.logsigmoid(beta * (chosen - rejected) - gamma).sum()


def odds_ratio_sum(chosen: Tensor, rejected: Tensor) -> Tensor:
    """sum_p -log sigma(log odds(y_w) - log odds(y_l)) of mean log-probabilities; [P] -> [].

    odds = P / (1 - P): Hong et al. 2024 (ORPO, arXiv 2403.07691), eq. 4 to 7.
    """
    return -F.logsigmoid(log_odds(chosen) - log_odds(rejected)).sum()


def log_odds(log_probability: Tensor) -> Tensor:
    """log (P / (1 - P)) of log P < 0, without the cancellation of 1 - P for P near 0 or 1."""
    near = log_probability > -0.6931471805599453  # log 1/2: where expm1 is the exact one
    many = torch.log(-torch.expm1(torch.where(near, log_probability, -1.0)))
    few = torch.log1p(-torch.exp(torch.where(near, -1.0, log_probability)))
    return log_probability - torch.where(near, many, few)


def kto_sum(ratio: Tensor, good: Tensor, baseline: Tensor, settings: KTO) -> Tensor:
    """sum_n w (1 - sigma(beta (ratio - z))), its sign turned where a reply is bad; [N] -> [].

    z = `baseline` [] is the estimate of KL(pi || pi_ref) that no gradient goes through.
    Ethayarajh et al. 2024 (arXiv 2402.01306), eq. 8, without its constant.
    """
    signs = torch.where(good, 1.0, -1.0).to(ratio)
    weights = torch.where(good, settings.desirable, settings.undesirable).to(ratio)
    return (weights * (1 - torch.sigmoid(signs * settings.beta * (ratio - baseline)))).sum()


def kto_baseline(mismatched: Tensor) -> Tensor:
    """max(0, mean log-ratio) of replies to other prompts; [N] -> [], without gradient.

    The estimate of arXiv 2402.01306, section 4.1.
    """
    return mismatched.detach().mean().clamp(min=0)
