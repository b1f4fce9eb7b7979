"""Where the steps of a plan stand in a picture: columns from left to right, few crossings.

The method is Sugiyama's (Methods for visual understanding of hierarchical system structures, 1981):
a column a step by its longest way from the start, edges over several columns cut by bends, and
each column ordered by the mean place of its neighbours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

SWEEPS = 4  # orderings forth and back; graphs of recipes settle after two
GAP = 24.0  # between two nodes of a column
BETWEEN = 64.0  # between two columns: room for the curves
BEND = 12.0  # the height that an edge takes where it passes a column


@dataclass(frozen=True)
class Box:
    """A node, or a bend of an edge, by its left edge and its middle."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class Layout:
    """Boxes by the names of nodes; edges as the boxes they run through, ends included."""

    boxes: Mapping[str, Box]
    edges: Sequence[Sequence[Box]]
    width: float
    height: float


Size = tuple[float, float]


def layout(sizes: Mapping[str, Size], edges: Sequence[tuple[str, str]]) -> Layout:
    """Place nodes that are listed in an order in which edges point forward."""
    ranks = _ranks(list(sizes), edges)
    chains = [_chain(edge, ranks) for edge in edges]
    every = dict(sizes)
    for chain in chains:
        for number, bend in enumerate(chain[1:-1], 1):
            ranks[bend] = ranks[chain[0]] + number
            every[bend] = (0.0, BEND)
    columns = _ordered(ranks, chains)
    boxes, width, height = _placed(columns, every)
    lines = [[boxes[name] for name in chain] for chain in chains]
    return Layout({name: boxes[name] for name in sizes}, lines, width, height)


def _ranks(names: list[str], edges: Sequence[tuple[str, str]]) -> dict[str, int]:
    """The longest way from a start; what only feeds later nodes stands just before them."""
    ranks: dict[str, int] = {}
    for name in names:
        ranks[name] = max((ranks[a] + 1 for a, b in edges if b == name), default=0)
    fed = {b for _, b in edges}
    for name in names:
        later = [ranks[b] for a, b in edges if a == name]
        if name not in fed and later:
            ranks[name] = min(later) - 1
    return ranks


def _chain(edge: tuple[str, str], ranks: Mapping[str, int]) -> list[str]:
    """An edge with a bend for each column that it passes."""
    start, end = edge
    passed = range(ranks[start] + 1, ranks[end])
    return [start, *(f"{start} > {end} {rank}" for rank in passed), end]


def _ordered(ranks: Mapping[str, int], chains: Sequence[Sequence[str]]) -> list[list[str]]:
    """Columns, each in the order of its neighbours' places; ties stay as they are."""
    columns: list[list[str]] = [[] for _ in range(max(ranks.values(), default=-1) + 1)]
    for name, rank in ranks.items():
        columns[rank].append(name)
    links = [pair for chain in chains for pair in pairwise(chain)]
    before = _neighbours([(b, a) for a, b in links])
    after = _neighbours(links)
    for _ in range(SWEEPS):
        for i in range(1, len(columns)):
            columns[i] = _sorted(columns[i], columns[i - 1], before)
        for i in range(len(columns) - 2, -1, -1):
            columns[i] = _sorted(columns[i], columns[i + 1], after)
    return columns


def _neighbours(links: Sequence[tuple[str, str]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for a, b in links:
        found.setdefault(a, []).append(b)
    return found


def _sorted(column: list[str], fixed: list[str], links: Mapping[str, list[str]]) -> list[str]:
    places = {name: number / max(1, len(fixed) - 1) for number, name in enumerate(fixed)}
    own = {name: number / max(1, len(column) - 1) for number, name in enumerate(column)}

    def mean(name: str) -> float:
        near = [places[other] for other in links.get(name, [])]
        return sum(near) / len(near) if near else own[name]

    return sorted(column, key=mean)


def _placed(
    columns: list[list[str]], sizes: Mapping[str, Size]
) -> tuple[dict[str, Box], float, float]:
    """Columns side by side, each in the middle of the picture's height."""
    tall = [sum(sizes[n][1] for n in column) + GAP * (len(column) - 1) for column in columns]
    height = max(tall, default=0.0)
    boxes: dict[str, Box] = {}
    x = 0.0
    for column, own in zip(columns, tall, strict=True):
        wide = max(sizes[name][0] for name in column)
        y = (height - own) / 2
        for name in column:
            width, high = sizes[name]
            boxes[name] = Box(x, y + high / 2, width or wide, high)
            y += high + GAP
        x += wide + BETWEEN
    return boxes, max(0.0, x - BETWEEN), height
