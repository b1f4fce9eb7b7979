"""Like and unlike pairs of labelled rows, and in which order they are drawn. Knows no torch.

SetFit (Tunstall et al. 2022, arXiv 2209.11055), sampler.py without pairs of a row with itself: of
classes with n_1 .. n_C rows come sum_c n_c (n_c - 1) / 2 like and sum_{c<d} n_c n_d unlike pairs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, count

from tunelang.train import mix

Two = tuple[int, int]


@dataclass(frozen=True)
class Pairs:
    """Row numbers of every pair, each once, the smaller number first."""

    like: tuple[Two, ...]
    unlike: tuple[Two, ...]


def pairs(labels: Sequence[int]) -> Pairs:
    """All pairs of rows by whether their labels are the same."""
    every = list(combinations(range(len(labels)), 2))
    like = tuple(two for two in every if labels[two[0]] == labels[two[1]])
    unlike = tuple(two for two in every if labels[two[0]] != labels[two[1]])
    return Pairs(like, unlike)


def drawn(among: Pairs, strategy: str, seed: int) -> Iterator[tuple[Two, bool]]:
    """Endless pairs and whether they are like; a pure function of seed and position.

    `oversampling` takes like and unlike ones in turn, each kind shuffled anew whenever it has been
    gone through, so the rarer is seen more often; `unique` takes every pair once a pass.
    """
    kinds = (among.like, among.unlike)
    if strategy == "unique" or not all(kinds):
        merged = [(two, True) for two in among.like] + [(two, False) for two in among.unlike]
        yield from (merged[mix.nth(len(merged), seed, 0, at)] for at in count())
    for at in count():
        turn, kind = divmod(at, len(kinds))
        yield kinds[kind][mix.nth(len(kinds[kind]), seed, kind, turn)], kind == 0
