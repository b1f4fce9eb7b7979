"""Several rows in one sequence, kept apart by position ids that start again at 0.

Best-fit decreasing, as TRL packs: longest row first, into the fullest bin it fits. Nothing is
cut. Exact only without attention mask and cache (see forward.py).
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from tunelang.train import forward
from tunelang.train.data import Split
from tunelang.train.evaluate import Lens
from tunelang.train.forward import Row, padded_weights
from tunelang.train.job import Job
from tunelang.train.losses import IGNORED, log_probabilities

# Nats a token. Rounding gives 1e-7 in fp32 and up to 0.03 in bf16; rows of 64 random weights that
# see each other change by 0.01 in fp32, rows of a trained model by tenths.
MOST_LEAK = {"fp32": 1e-4, "bf16": 0.1}


def pack(rows: Sequence[Row], length: int) -> list[Row]:
    """Rows of at most `length` tokens -> packed rows of at most `length` tokens."""
    return [join([rows[index] for index in bin]) for bin in bins(rows, length)]


def check(job: Job, model: Any, parts: Sequence[Split[Row]], lens: Lens) -> None:
    """Self-check: packed rows must be computed as each would be alone (L03)."""
    joined = [row for split in parts for row in split.train if len(starts(row)) > 1]
    if joined:
        off = leak(model, min(joined, key=lambda row: len(row.ids)), lens)
        trouble = ("rows packed into one sequence see each other", "set packing = false")
        job.check("packed-rows-apart", off, off <= MOST_LEAK[lens.precision], trouble)


def starts(row: Row) -> list[int]:
    """Where the rows of a packed row begin."""
    return [at for at, position in enumerate(row.positions or [0]) if position == 0]


def leak(model: Any, row: Row, lens: Lens) -> float:
    """The mean change of a token's log-probability between a packed row and its rows alone."""
    bounds = [*starts(row), len(row.ids)]
    alone = [Row(row.ids[a:b], row.labels[a:b]) for a, b in pairwise(bounds)]

    def said(rows: Sequence[Row]) -> Tensor:
        with torch.no_grad(), forward.autocast(lens.precision, lens.device):
            batch = forward.collate(rows, lens.pad, lens.device)
            return log_probabilities(*forward.supervised_logits(model, batch))

    return float((said([row]) - torch.cat([said([one]) for one in alone])).abs().mean())


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
