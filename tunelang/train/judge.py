"""A reward model while it trains: its scores of lists of replies, its loss, and what it measures.

A score is a log-odds over the judge's `gain` (see calibration.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from tunelang.train import calibration, losses
from tunelang.train.calibration import Judged
from tunelang.train.evaluate import Lens
from tunelang.train.reward_lists import Comparison
from tunelang.train.scoring import scores, scores_of
from tunelang.train.trainable import Trained


@dataclass(frozen=True)
class Judge:
    """The model being trained and its head; `center`, `margin` and `best_of` as the recipe says.

    `shift` is added to every score before centering: a fresh head on wide hidden states can
    begin far from 0 (by 6 on SmolLM2), and would learn nothing but that at first. `gain` is what
    the trained scores are multiplied by afterwards; a score over gain is a log-odds.
    """

    trained: Trained
    head: nn.Linear
    lens: Lens
    center: float
    margin: bool
    best_of: bool = False
    shift: float = 0.0
    gain: float = 1.0

    @property
    def weight(self) -> Tensor:
        """The head as it is kept, times its gain."""
        return self.head.weight if self.gain == 1 else self.head.weight * self.gain


def scored(judge: Judge, lists: Sequence[Comparison]) -> list[Tensor]:
    """Scores [K] of the replies of each list."""
    ids = [reply for one in lists for reply in one.replies]
    return split(scores(judge.trained.model, judge.weight, ids, judge.lens), lists)


def split(found: Tensor, lists: Sequence[Comparison]) -> list[Tensor]:
    """Scores of all replies in a row -> scores [K] of each list."""
    return list(torch.split(found, [len(one.replies) for one in lists]))


def list_loss(judge: Judge, lists: Sequence[Comparison], found: Sequence[Tensor]) -> Tensor:
    """The summed loss, each list counting as one, around the judge's shift."""
    shifted = [each + judge.shift for each in found]
    if judge.best_of:
        best = [one.best for one in lists]
        return losses.best_of_sum(shifted, [at for at in best if at is not None], judge.center)
    better, worse, weight = paired(lists, shifted)
    margins = [one.margin for one in lists for _ in one.pairs]
    wanted = torch.tensor(margins, device=better.device) if judge.margin else None
    return losses.bradley_terry_sum(better, worse, wanted, judge.center, weight)


def paired(lists: Sequence[Comparison], found: Sequence[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """Scores of the better and the worse reply of every pair, and 1 over its list's pairs."""
    chosen = zip(lists, found, strict=True)
    both = torch.stack([own[list(pair)] for one, own in chosen for pair in one.pairs])
    weight = [1 / len(one.pairs) for one in lists for _ in one.pairs]
    return both[:, 0], both[:, 1], torch.tensor(weight, device=both.device)


def measure(judge: Judge, lists: Sequence[Comparison]) -> dict[str, float]:
    """`accuracy` (of pairs; ties count half), `loss` (no centering), `margin` (mean gap), how far
    confidence is from accuracy, and what length has to do with it. Empty without rows."""
    if not lists:
        return {}
    found = all_scores(judge, lists)
    plain = replace(judge, center=0.0, shift=0.0, margin=False)
    loss = list_loss(plain, lists, [own / judge.gain for own in found]) / len(lists)
    pairs = judged(judge, lists, found)
    margin = sum(pair.gap for pair in pairs) * judge.gain / len(pairs)
    metrics = {"accuracy": calibration.accuracy(pairs), "loss": float(loss), "margin": margin}
    metrics["calibration_error"] = calibration.error(calibration.reliability(pairs))
    values = [own.tolist() for own in found]
    lengths = [[len(reply) for reply in one.replies] for one in lists]
    correlation = calibration.length_correlation(values, lengths)
    if correlation is not None:
        metrics["length_correlation"] = correlation
    return metrics | calibration.length_metrics(pairs)


def all_scores(judge: Judge, lists: Sequence[Comparison]) -> list[Tensor]:
    """Scores [K] of each list without gradients."""
    ids = [reply for one in lists for reply in one.replies]
    return split(scores_of(judge.trained.model, judge.weight, ids, judge.lens), lists)


def judged(judge: Judge, lists: Sequence[Comparison], found: Sequence[Tensor]) -> list[Judged]:
    """Every pair with its gap as a log-odds, and how many tokens longer the better reply is."""
    made = []
    for one, own in zip(lists, found, strict=True):
        for better, worse in one.pairs:
            gap = float(own[better] - own[worse]) / judge.gain
            made.append(Judged(gap, len(one.replies[better]) - len(one.replies[worse])))
    return made


def calibrated(judge: Judge, lists: Sequence[Comparison]) -> dict[str, Any]:
    """What calibration.json says of the held-out rows."""
    pairs = judged(judge, lists, all_scores(judge, lists)) if lists else []
    return calibration.page(pairs, measure(judge, lists), judge.gain)
