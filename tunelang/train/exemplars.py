"""Which rows stand before a question: orders of a pool, and how many of one fit. Knows no torch.

Random: Brown et al. 2020 (arXiv 2005.14165). Nearest: Liu et al. 2021 (KATE, arXiv 2101.06804).
BM25: Robertson and Zaragoza 2009. Diverse: MMR, Carbonell and Goldstein 1998. Every order is a
pure function of its arguments; ties go to the earlier row.
"""

from __future__ import annotations

import math
import random
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

Group = tuple[int, ...]  # rows that are taken together or not at all

K1, B = 1.5, 0.75  # Robertson and Zaragoza 2009, section 3.2: usual choices
PASSED_OVER = 32  # rows that do not fit before the search for a shorter one ends
WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class Pool:
    """The rows to choose from: `keys` are what questions are compared by, `labels` their answers.

    `words` are the keys as BM25 counts them.
    """

    keys: tuple[str, ...]
    labels: tuple[str, ...]
    words: tuple[Counter[str], ...]

    @property
    def rows(self) -> range:
        return range(len(self.keys))


def pool(keys: Sequence[str], labels: Sequence[str]) -> Pool:
    """A pool of questions and their answers, in row order."""
    return Pool(tuple(map(folded, keys)), tuple(labels), tuple(map(counted, keys)))


def folded(text: str) -> str:
    """A question as it is compared with others: case and spacing do not count."""
    return " ".join(text.split()).casefold()


def others(among: Pool, key: str) -> list[int]:
    """The rows that do not ask `key` itself: a question never sees its own answer."""
    own = folded(key)
    return [row for row in among.rows if among.keys[row] != own]


def drawn(rows: Sequence[int], seed: int, key: str) -> list[int]:
    """The rows in an order that only the seed and the question decide."""
    mixed = list(rows)
    random.Random(f"{seed}/{folded(key)}").shuffle(mixed)
    return mixed


def balanced(rows: Sequence[int], labels: Sequence[str]) -> list[Group]:
    """Rounds with one row of every class, classes sorted; rows keep their order within a class.

    A round ends where a class has run out: what is left of the others would unbalance it.
    """
    classes = sorted({labels[row] for row in rows})
    queues = [[row for row in rows if labels[row] == name] for name in classes]
    return list(zip(*queues, strict=False))


def ranked(rows: Sequence[int], scores: Callable[[int], float]) -> list[int]:
    """The rows by falling score; equal scores keep row order."""
    return sorted(rows, key=lambda row: (-scores(row), row))


def counted(text: str) -> Counter[str]:
    """The words of a text and how often each stands there."""
    return Counter(WORD.findall(text.casefold()))


def bm25(among: Pool, rows: Sequence[int], question: str) -> dict[int, float]:
    """BM25 of each row for a question, the statistics taken over these rows.

    sum over words w of the question: idf(w) f (k1 + 1) / (f + k1 (1 - b + b |d| / mean |d|)), with
    idf(w) = ln(1 + (N - n + 0.5) / (n + 0.5)), which is never negative (Lucene's form).
    """
    texts = {row: among.words[row] for row in rows}
    sizes = {row: sum(words.values()) for row, words in texts.items()}
    mean = sum(sizes.values()) / max(1, len(rows)) or 1.0
    found = dict.fromkeys(rows, 0.0)
    for word, times in sorted(counted(question).items()):
        holds = [row for row in rows if word in texts[row]]
        idf = math.log(1 + (len(rows) - len(holds) + 0.5) / (len(holds) + 0.5))
        for row in holds:
            often = texts[row][word]
            scaled = often + K1 * (1 - B + B * sizes[row] / mean)
            found[row] += times * idf * often * (K1 + 1) / scaled
    return found


def diverse(
    rows: Sequence[int],
    near: Callable[[int], float],
    alike: Callable[[int, int], float],
    share: float,
    most: int,
) -> list[int]:
    """At most `most` rows, each the best by share x near - (1 - share) x (its nearest chosen)."""
    chosen: list[int] = []
    closest: dict[int, float] = {}
    left = list(rows)
    while left and len(chosen) < most:
        best = max(left, key=lambda row: (gain(near(row), closest.get(row), share), -row))
        left.remove(best)
        chosen.append(best)
        for row in left:
            closest[row] = max(closest.get(row, -math.inf), alike(best, row))
    return chosen


def gain(near: float, closest: float | None, share: float) -> float:
    """MMR's score of a candidate; the first one has nothing to repeat."""
    return share * near - (1 - share) * (closest if closest is not None else 0.0)


def singly(rows: Iterable[int]) -> list[Group]:
    """Every row a group of its own."""
    return [(row,) for row in rows]


def within(order: Sequence[Group], most: int, fits: Callable[[list[int]], bool]) -> list[int]:
    """The first groups of `order` that fit, at most `most` rows; a group is never broken.

    One that does not fit is passed over, and a shorter one after it may be taken.
    """
    taken: list[int] = []
    passed = 0
    for group in order:
        if len(taken) + len(group) > most or passed == PASSED_OVER:
            break
        if fits([*taken, *group]):
            taken += group
        else:
            passed += 1
    return taken


def arranged(taken: Sequence[int], order: str) -> list[int]:
    """The chosen rows as they stand in the prompt.

    `best_last` puts what was chosen first next to the question, `best_first` at the top, `rows`
    keeps the order of the data.
    """
    if order == "rows":
        return sorted(taken)
    return list(taken) if order == "best_first" else list(reversed(taken))
