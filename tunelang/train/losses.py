"""Losses as pure functions: log-probabilities, labels and scores in, sums out, all in fp32.

Sums, not means: the caller divides by the count over the whole accumulated batch, so that no
split into micro-batches changes the result.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

IGNORED = -100  # the label of a token without loss, as in torch and transformers


def cross_entropy_sum(logits: Tensor, targets: Tensor) -> Tensor:
    """-sum_n log softmax(logits[n])[targets[n]]; logits [N, V], targets [N] -> []."""
    return F.cross_entropy(logits.float(), targets, reduction="sum")


def log_probabilities(logits: Tensor, targets: Tensor) -> Tensor:
    """log softmax(logits)[targets]; logits [..., V], targets [...] -> [...]."""
    picked = logits.float().gather(-1, targets.unsqueeze(-1)).squeeze(-1)
    return picked - torch.logsumexp(logits.float(), dim=-1)


def bradley_terry_sum(
    chosen: Tensor, rejected: Tensor, margin: Tensor | None = None, center: float = 0.0
) -> Tensor:
    """sum_p -log sigma(r_w - r_l - m) + center (r_w + r_l)^2; all [P] -> [].

    Ziegler et al. 2019 (arXiv 1909.08593) eq. 1 for pairs; the margin as in Llama 2 (arXiv
    2307.09288) eq. 2; the centering term of Eisenstein et al. 2023 (arXiv 2312.09244) keeps the
    scores, which are known only up to a constant, near zero.
    """
    gap = chosen - rejected if margin is None else chosen - rejected - margin
    loss = -F.logsigmoid(gap).sum()
    if center:
        loss = loss + center * (chosen + rejected).square().sum()
    return loss
