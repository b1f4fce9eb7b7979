"""Losses of ranked lists as pure functions: scores and labels of one list in, one number out.

`scores` [K] are what the policy gives the replies of a prompt, `labels` [K] what people or a judge
gave them: more is better. Replies of equal labels form no pair. All work in the type of `scores`.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def better(labels: Tensor) -> Tensor:
    """[K, K]: is reply i better than reply j?"""
    return labels[:, None] > labels[None, :]


def gaps(scores: Tensor) -> Tensor:
    """[K, K]: s_i - s_j."""
    return scores[:, None] - scores[None, :]


def plackett_luce(scores: Tensor, labels: Tensor) -> Tensor:
    """-sum_k log [exp s_k / (exp s_k + sum_{j worse than k} exp s_j)] -> [].

    Plackett 1975 and Luce 1959; for policies Rafailov et al. 2023 (arXiv 2305.18290), appendix A.3.
    Two replies make the Bradley-Terry loss. Sums to 1 over all orders as exp(-loss).
    """
    worse = torch.where(better(labels), scores[None, :], -torch.inf)
    rivals = torch.cat([scores[:, None], worse], 1)  # [K, 1 + K], each with itself
    return (torch.logsumexp(rivals, 1) - scores).sum()


def all_pairs(scores: Tensor, labels: Tensor) -> Tensor:
    """mean over pairs of -log sigma(s_better - s_worse) -> [].

    The K-wise loss of InstructGPT (Ouyang et al. 2022, arXiv 2203.02155, eq. 1).
    """
    return -F.logsigmoid(gaps(scores)[better(labels)]).mean()


def rrhf(scores: Tensor, labels: Tensor) -> Tensor:
    """sum over pairs of max(0, s_worse - s_better) -> [].

    Yuan et al. 2023 (arXiv 2304.05302), eq. 2; `scores` are log-probabilities over length.
    """
    return F.relu(-gaps(scores)[better(labels)]).sum()


def pro(scores: Tensor, labels: Tensor, temperatures: Tensor | None = None) -> Tensor:
    """-sum_k log [exp(s_k T_k) / (exp(s_k T_k) + sum_{j worse} exp(s_j T_kj))] -> [].

    T_kj = l_k - l_j unless `temperatures` [K, K] are given, and T_k = max_j T_kj: Song et al. 2023
    (arXiv 2306.17492), eq. 7. The paper's code takes plain exponentials and overflows; this is
    their logsumexp. With every T = 1 it is `plackett_luce`. Unlike that one it changes when a
    constant is added to all scores.
    """
    wins = better(labels)
    sharpness = torch.where(wins, gaps(labels) if temperatures is None else temperatures, 0)
    own = (scores * sharpness.max(1).values)[:, None]
    worse = torch.where(wins, scores[None, :] * sharpness, -torch.inf)
    return (torch.logsumexp(torch.cat([own, worse], 1), 1) - own[:, 0]).sum()


def lipo(scores: Tensor, labels: Tensor) -> Tensor:
    """sum over pairs of D_ij log(1 + exp(-(s_i - s_j))) -> [].

    D_ij = |2^l_i - 2^l_j| |1/log(1 + rank_i) - 1/log(1 + rank_j)|, ranks under `scores` from 1:
    LiPO-lambda, Liu et al. 2024 (arXiv 2402.01878). Labels are probabilities there, 0 to 1.
    """
    order = scores.detach().argsort(descending=True, stable=True)
    ranks = torch.empty_like(scores).index_copy(
        0, order, torch.arange(1, len(scores) + 1, device=scores.device).to(scores)
    )
    discount = 1 / torch.log1p(ranks)
    weights = gaps(2**labels).abs() * gaps(discount).abs()
    wins = better(labels)
    return (weights[wins] * F.softplus(-gaps(scores)[wins])).sum()


def slic(scores: Tensor, labels: Tensor, margin: float) -> Tensor:
    """mean over pairs of max(0, margin - (s_better - s_worse)) -> [].

    The calibration loss of SLiC-HF, Zhao et al. 2023 (arXiv 2305.10425), eq. 2, whose lists are
    pairs; `scores` are log-probabilities of whole replies.
    """
    return F.relu(margin - gaps(scores)[better(labels)]).mean()


def unit(labels: Tensor) -> Tensor:
    """Labels [K] moved and stretched to 0 (worst) to 1 (best); there must be two values."""
    return (labels - labels.min()) / (labels.max() - labels.min())
