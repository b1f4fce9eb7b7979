"""Which row comes next: shares of the parts of a mix, kept exactly, each part shuffled per pass.

The stream is a pure function of seed and position, so a resumed run sees the rows it would have
seen. Shares follow seqio: scale, then cap, then temperature.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from functools import lru_cache

from tunelang.plan.ir import Mixture


def shares(mixture: Mixture, sizes: Sequence[int]) -> list[float]:
    """The share of each part, adding up to 1; `sizes` are their rows.

    fixed: weight. proportional: min(weight n, cap). temperature: min(weight n, cap)^(1/T)
    (T5, arXiv 1910.10683 section 3.5.2; seqio `mixing_rate_num_examples`).
    """
    weights = [part.weight for part in mixture.parts]
    if mixture.strategy == "fixed":
        rates = weights
    else:
        cap = mixture.cap or float("inf")
        power = 1 / mixture.temperature if mixture.strategy == "temperature" else 1.0
        pairs = zip(weights, sizes, strict=True)
        rates = [min(weight * size, cap) ** power for weight, size in pairs]
    return [rate / sum(rates) for rate in rates]


def passes(mixture: Mixture, sizes: Sequence[int], drawn: int) -> list[float]:
    """How often each row of each part is seen when `drawn` rows are taken in all."""
    parts = shares(mixture, sizes)
    return [share * drawn / size for share, size in zip(parts, sizes, strict=True)]


def turns(parts: Sequence[float]) -> Iterator[int]:
    """Endless part numbers by exact quota: after k draws every part is within one of share x k."""
    taken = [0] * len(parts)
    drawn = 0
    while True:
        drawn += 1
        owed = [share * drawn - count for share, count in zip(parts, taken, strict=True)]
        part = owed.index(max(owed))
        taken[part] += 1
        yield part


def draws(parts: Sequence[float], sizes: Sequence[int], seed: int) -> Iterator[tuple[int, int]]:
    """Endless (part, row) pairs: parts by `turns`, rows of a part in a new order each pass."""
    taken = [0] * len(parts)
    for part in turns(parts):
        epoch, place = divmod(taken[part], sizes[part])
        taken[part] += 1
        yield part, shuffled(sizes[part], seed, part, epoch)[place]


@lru_cache(maxsize=64)
def shuffled(size: int, seed: int, part: int, epoch: int) -> tuple[int, ...]:
    """The order of a part's rows in one pass, from nothing but these numbers."""
    order = list(range(size))
    random.Random(f"{seed}/{part}/{epoch}").shuffle(order)
    return tuple(order)
