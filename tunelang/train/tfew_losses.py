"""The three losses of T-Few (Liu et al. 2022, arXiv 2205.05638, section 3.2), as sums over rows.

In come log-probabilities log p(y_t | x, y_<t) [N] of the tokens of all choices of B questions, the
choice each token is of [N], and which choices are right. r-three/t-few divides the first loss by
the tokens of right answers, the second by those of wrong ones, the third by the questions; the
caller gives these counts for the whole accumulated batch.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

OFFSET = 1e-2  # r-three/t-few, EncoderDecoder.py: log(1 - exp(.) + 1e-2), which stays finite


def language_sum(scores: Tensor, owner: Tensor, right: Tensor) -> Tensor:
    """L_LM = -sum log p(y_t) over the tokens of right choices.

    `scores` [N], `owner` [N] in 0..R-1, `right` [R] of bool -> [].
    """
    return -scores[right[owner]].sum()


def unlikelihood_sum(scores: Tensor, owner: Tensor, right: Tensor) -> Tensor:
    """L_UL = -sum log(1 - p(y_t) + 1e-2) over the tokens of wrong choices (eq. 1, and its code).

    `scores` [N], `owner` [N], `right` [R] -> []; 0 where no choice is wrong.
    """
    wrong = scores[~right[owner]]
    return -torch.log(1 - torch.exp(wrong) + OFFSET).sum()


def length_normalised_sum(beta: Tensor, sizes: Sequence[int], right: Sequence[int]) -> Tensor:
    """L_LN = -sum_b log softmax(beta_b)[right_b], beta a choice's mean log-probability (eq. 2).

    `beta` [R] over all choices, `sizes` how many choices each of B questions has, `right` the
    number of the right one in each -> []; 0 for a question with one choice.
    """
    each = torch.split(beta, list(sizes))
    losses = [-F.log_softmax(one, dim=0)[at] for one, at in zip(each, right, strict=True)]
    return torch.stack(losses).sum()
