"""Several rows in one sequence, kept apart by position ids that start again at 0.

Best-fit decreasing, as TRL packs: longest row first, into the fullest bin it fits. Nothing is
cut. Exact only without attention mask and cache (see forward.py).
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence

from tunelang.train.forward import Row, padded_weights
from tunelang.train.losses import IGNORED


def pack(rows: Sequence[Row], length: int) -> list[Row]:
    """Rows of at most `length` tokens -> packed rows of at most `length` tokens."""
    return [join([rows[index] for index in bin]) for bin in bins(rows, length)]


def bins(rows: Sequence[Row], length: int) -> list[list[int]]:
    """Best-fit decreasing: indices of the rows of each bin, in order of row within a bin."""
    order = sorted(range(len(rows)), key=lambda index: (-len(rows[index].ids), index))
    filled: list[list[int]] = []
    free: list[tuple[int, int]] = []  # (room left, bin), sorted
    for index in order:
        size = len(rows[index].ids)
        place = bisect_left(free, (size, -1))
        if place == len(free):
            filled.append([])
            room, bin = length, len(filled) - 1
        else:
            room, bin = free.pop(place)
        filled[bin].append(index)
        if room > size:
            insort(free, (room - size, bin))
    return [sorted(bin) for bin in filled]


def join(rows: Sequence[Row]) -> Row:
    """One row of several: the first label of each is ignored, nothing before it belongs to it."""
    ids = [token for row in rows for token in row.ids]
    labels = [label for row in rows for label in [IGNORED, *row.labels[1:]]]
    positions = [position for row in rows for position in range(len(row.ids))]
    weights = None
    if any(row.weights is not None for row in rows):
        weights = [weight for row in rows for weight in padded_weights(row, len(row.ids))]
    return Row(ids, labels, positions, weights)
