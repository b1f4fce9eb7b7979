"""Losses as pure functions: log-probabilities, labels and scores in, sums out, all in fp32.

Sums, not means: the caller divides by the count over the whole accumulated batch, so that no
split into micro-batches changes the result.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

IGNORED = -100  # the label of a token without loss, as in torch and transformers


def cross_entropy_sum(logits: Tensor, targets: Tensor, weights: Tensor | None = None) -> Tensor:
    """-sum_n w_n log softmax(logits[n])[targets[n]]; logits [N, V], targets, weights [N] -> [].

    Without weights every w_n is 1.
    """
    if weights is None:
        return F.cross_entropy(logits.float(), targets, reduction="sum")
    return (weights * F.cross_entropy(logits.float(), targets, reduction="none")).sum()


def log_probabilities(logits: Tensor, targets: Tensor) -> Tensor:
    """log softmax(logits)[targets]; logits [..., V], targets [...] -> [...]."""
    picked = logits.float().gather(-1, targets.unsqueeze(-1)).squeeze(-1)
    return picked - torch.logsumexp(logits.float(), dim=-1)


def bradley_terry_sum(
    chosen: Tensor,
    rejected: Tensor,
    margin: Tensor | None = None,
    center: float = 0.0,
    weight: Tensor | None = None,
) -> Tensor:
    """sum_p w_p [-log sigma(r_w - r_l - m) + center (r_w + r_l)^2]; all [P] -> [].

    Ziegler et al. 2019 (arXiv 1909.08593) eq. 1 for pairs; the margin as in Llama 2 (arXiv
    2307.09288) eq. 2; the centering term of Eisenstein et al. 2023 (arXiv 2312.09244) keeps the
    scores, which are known only up to a constant, near zero. With weight 1/C(K, 2) for each pair
    of a list it is the list loss of InstructGPT (arXiv 2203.02155) eq. 1.
    """
    gap = chosen - rejected if margin is None else chosen - rejected - margin
    loss = -F.logsigmoid(gap)
    if center:
        loss = loss + center * (chosen + rejected).square()
    return loss.sum() if weight is None else (weight * loss).sum()


def best_of_sum(lists: Sequence[Tensor], best: Sequence[int], center: float = 0.0) -> Tensor:
    """sum_l -log softmax(s_l)[b_l] + center (2 mean s_l)^2; scores [K] of each list -> [].

    Ziegler et al. 2019 (arXiv 1909.08593) eq. 1: one of K replies was picked as the best. The
    centering term is that of pairs, where 2 mean(s) = r_w + r_l.
    """
    losses = [
        torch.logsumexp(scores, 0) - scores[at] + center * (2 * scores.mean()).square()
        for scores, at in zip(lists, best, strict=True)
    ]
    return torch.stack(losses).sum()
