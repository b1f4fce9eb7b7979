"""Which of its choices a model takes: the mean log-probability of each choice's tokens.

beta(x, y) = 1/T sum_t log p(y_t | x, y_<t), and the choice with the largest beta is the answer
(T-Few, Liu et al. 2022, arXiv 2205.05638, section 3.2).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from tunelang.train import forward
from tunelang.train.evaluate import Lens
from tunelang.train.forward import Row
from tunelang.train.losses import IGNORED, log_probabilities

TOKENS = 4096  # of a batch without gradients, as in evaluate.py


@dataclass(frozen=True)
class Choices:
    """One question as token rows, a row a choice with that choice's tokens labelled."""

    rows: list[Row]
    right: int

    @property
    def longest(self) -> int:
        return max(len(row.ids) for row in self.rows)

    @property
    def supervised(self) -> int:
        """Tokens of the right answer: what a share of a mix counts."""
        return self.rows[self.right].supervised


def token_scores(model: Any, asked: Sequence[Choices], lens: Lens) -> tuple[Tensor, Tensor]:
    """Log-probabilities [N] of all labelled tokens, and the number [N] of the row each is in.

    Rows are counted over all questions, in order.
    """
    rows = [each for one in asked for each in one.rows]
    batch = forward.collate(rows, lens.pad, lens.device)
    with forward.autocast(lens.precision, lens.device):
        logits, targets = forward.supervised_logits(model, batch)
    owner = torch.arange(len(rows), device=lens.device)[:, None]
    owner = owner.expand(-1, batch.labels.shape[1] - 1)[batch.labels[:, 1:] != IGNORED]
    return log_probabilities(logits, targets), owner


def means(scores: Tensor, owner: Tensor, rows: int) -> Tensor:
    """The mean of scores [N] over each of `rows` owners -> [rows]; every owner has one."""
    sums = torch.zeros(rows, dtype=scores.dtype, device=scores.device).index_add(0, owner, scores)
    counts = torch.bincount(owner, minlength=rows)
    return sums / counts


def picked(model: Any, asked: Sequence[Choices], lens: Lens) -> list[int]:
    """The number of the choice that the model takes, for each question; ties go to the first."""
    found: list[int] = [0] * len(asked)
    with torch.no_grad():
        for group in by_length(asked):
            few = [asked[at] for at in group]
            scores, owner = token_scores(model, few, lens)
            every = means(scores, owner, sum(len(one.rows) for one in few))
            for at, beta in zip(
                group, torch.split(every, [len(one.rows) for one in few]), strict=True
            ):
                found[at] = int(beta.argmax())
    return found


def accuracy(model: Any, asked: Sequence[Choices], lens: Lens) -> dict[str, float]:
    """`accuracy` over the questions that have something to choose; empty where none has."""
    real = [one for one in asked if len(one.rows) > 1]
    if not real:
        return {}
    right = sum(
        taken == one.right for taken, one in zip(picked(model, real, lens), real, strict=True)
    )
    return {"accuracy": right / len(real)}


def by_length(asked: Sequence[Choices]) -> Iterator[list[int]]:
    """Numbers of questions in batches of at most so many padded tokens, or one question."""
    group: list[int] = []
    rows = 0
    for at in sorted(range(len(asked)), key=lambda at: asked[at].longest):
        if group and (rows + len(asked[at].rows)) * asked[at].longest > TOKENS:
            yield group
            group, rows = [], 0
        group.append(at)
        rows += len(asked[at].rows)
    if group:
        yield group
