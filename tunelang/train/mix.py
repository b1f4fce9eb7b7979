"""Which row comes next: shares of the parts of a mix, kept exactly, each part shuffled per pass.

The stream is a pure function of seed and position, so a resumed run sees the rows it would have
seen. Shares are made by `tunelang.plan.shares`.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from functools import lru_cache

from tunelang.plan.shares import passes as passes
from tunelang.plan.shares import shares as shares


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
