"""What a reward's scores are worth: do they mean probabilities, and do they only count length?

Numbers in, numbers out; a score is a log-odds: sigma(gap) is the probability that one reply is
preferred to the other (Bradley and Terry 1952).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

BINS = 10  # of confidence between 1/2 and 1: as Guo et al. 2017 use for a two-way choice


@dataclass(frozen=True)
class Judged:
    """A pair after scoring: `gap` of better and worse, and how many tokens longer the better is."""

    gap: float
    longer: int


def right(gap: float) -> float:
    """1 for the right order, 1/2 for a tie."""
    return 1.0 if gap > 0 else 0.5 if gap == 0 else 0.0


def accuracy(pairs: Sequence[Judged]) -> float:
    return sum(right(pair.gap) for pair in pairs) / len(pairs)


def reliability(pairs: Sequence[Judged]) -> list[dict[str, float]]:
    """Pairs, mean confidence and accuracy of each bin of confidence that holds any."""
    bins: list[list[float]] = [[] for _ in range(BINS)]
    for pair in pairs:
        confidence = sigma(abs(pair.gap))
        bins[min(BINS - 1, int((confidence - 0.5) * 2 * BINS))].append(pair.gap)
    return [
        {
            "from": 0.5 + at / (2 * BINS),
            "to": 0.5 + (at + 1) / (2 * BINS),
            "pairs": len(gaps),
            "confidence": sum(sigma(abs(gap)) for gap in gaps) / len(gaps),
            "accuracy": sum(map(right, gaps)) / len(gaps),
        }
        for at, gaps in enumerate(bins)
        if gaps
    ]


def error(table: Sequence[dict[str, float]]) -> float:
    """Expected calibration error: sum_b n_b/n |accuracy_b - confidence_b| (Guo et al. 2017, arXiv
    1706.04599 eq. 3)."""
    total = sum(row["pairs"] for row in table)
    off = sum(row["pairs"] * abs(row["accuracy"] - row["confidence"]) for row in table)
    return off / total


def sigma(gap: float) -> float:
    return 1 / (1 + math.exp(-gap))


def length_correlation(
    scores: Sequence[Sequence[float]], lengths: Sequence[Sequence[int]]
) -> float | None:
    """Pearson's r of score and length among the replies to one prompt, None where one is constant.

    Each list is centred on its own mean, so that prompts, long or hard, do not count.
    """
    pairs = [
        (score - sum(own) / len(own), length - sum(long) / len(long))
        for own, long in zip(scores, lengths, strict=True)
        for score, length in zip(own, long, strict=True)
    ]
    spread = math.sqrt(sum(s * s for s, _ in pairs) * sum(n * n for _, n in pairs))
    return sum(s * n for s, n in pairs) / spread if spread else None


def length_metrics(pairs: Sequence[Judged]) -> dict[str, float]:
    """Accuracy where the better reply is the shorter, and where it is the longer one."""
    sides = {
        "shorter_accuracy": [pair for pair in pairs if pair.longer < 0],
        "longer_accuracy": [pair for pair in pairs if pair.longer > 0],
    }
    return {name: accuracy(found) for name, found in sides.items() if found}


def page(pairs: Sequence[Judged], metrics: dict[str, float], gain: float) -> dict[str, Any]:
    """What calibration.json holds; `gain` is what the scores were multiplied by afterwards."""
    return {"pairs": len(pairs), "gain": gain, **metrics, "reliability": reliability(pairs)}
