"""Which row comes next: shares of the parts of a mix, kept exactly, each part shuffled per pass.

The stream is a pure function of seed and position, so a resumed run sees the rows it would have
seen, whatever its micro-batches. Shares are made by `tunelang.plan.shares`.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

from tunelang.plan.ir import Mixture
from tunelang.plan.shares import of_rows as of_rows
from tunelang.plan.shares import passes as passes
from tunelang.plan.shares import shares as shares
from tunelang.plan.shares import whole as whole

ROUNDING = 1e-9  # of a share times a position in fp64


def stream(
    mixture: Mixture, parts: Sequence[Sequence[Any]], seed: int
) -> Iterator[tuple[int, int]]:
    """Endless (part, row) pairs over the training rows of each part, in the shares of the mix."""
    sizes = [len(rows) for rows in parts]
    if mixture.by == "rows" or len(parts) == 1:
        return draws(shares(mixture, sizes), sizes, seed)
    lengths = [[tokens(row) for row in rows] for rows in parts]
    return draws_by_tokens(shares(mixture, [sum(part) for part in lengths]), lengths, seed)


def tokens(row: Any) -> int:
    """The tokens of a row that a share counts: those with loss where it says so, else all."""
    counted = row.supervised if hasattr(row, "supervised") else len(row.ids)
    return max(1, int(counted))


def turns(parts: Sequence[float]) -> Iterator[int]:
    """Endless part numbers by exact quota: after every draw each part has its share to within 1.

    Tijdeman 1980, "The chairman assignment problem" (Discrete Mathematics 32): of the parts that
    are owed at least 1/(2m - 2) the one whose deadline is next; then |count - share k| is at most
    1 - 1/(2m - 2). The part that is owed most, as one would guess, can be off by more than 1.
    """
    least = 1 / (2 * len(parts) - 2) if len(parts) > 1 else 0.0
    taken = [0] * len(parts)
    drawn = 0
    while True:
        drawn += 1
        owed = [share * drawn - count for share, count in zip(parts, taken, strict=True)]
        due = [at for at, amount in enumerate(owed) if amount >= least - ROUNDING and parts[at] > 0]
        part = min(due, key=lambda at: (1 - least - owed[at]) / parts[at])
        taken[part] += 1
        yield part


def draws(parts: Sequence[float], sizes: Sequence[int], seed: int) -> Iterator[tuple[int, int]]:
    """Endless (part, row) pairs: parts by `turns`, rows of a part in a new order each pass."""
    taken = [0] * len(parts)
    for part in turns(parts):
        yield part, nth(sizes[part], seed, part, taken[part])
        taken[part] += 1


def draws_by_tokens(
    parts: Sequence[float], lengths: Sequence[Sequence[int]], seed: int
) -> Iterator[tuple[int, int]]:
    """Endless (part, row) pairs from the part that is owed most tokens.

    Whoever is ahead of its share is never drawn, so a part is ahead by at most its longest row and
    m parts are never off by more than m - 1 of the longest rows: the share of tokens converges.
    """
    taken, spent = [0] * len(parts), [0] * len(parts)
    while True:
        total = sum(spent)
        owed = [share * total - count for share, count in zip(parts, spent, strict=True)]
        part = max(range(len(parts)), key=lambda at: (owed[at], parts[at]))
        row = nth(len(lengths[part]), seed, part, taken[part])
        taken[part] += 1
        spent[part] += lengths[part][row]
        yield part, row


def nth(size: int, seed: int, part: int, place: int) -> int:
    """The row that a part gives at its n-th turn: every row once a pass."""
    epoch, at = divmod(place, size)
    return shuffled(size, seed, part, epoch)[at]


@lru_cache(maxsize=256)
def shuffled(size: int, seed: int, part: int, epoch: int) -> tuple[int, ...]:
    """The order of a part's rows in one pass, from nothing but these numbers."""
    order = list(range(size))
    random.Random(f"{seed}/{part}/{epoch}").shuffle(order)
    return tuple(order)
