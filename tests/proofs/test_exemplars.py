"""P18: exemplars are those a brute-force search finds, fit their budget and never give the answer.

Seen to fail, each in the test that states the fact: ties by falling row in `ranked`; `others` with
every row; `within` counting only what is taken already, or never asking whether it fits; BM25 with
b = 0.5; MMR comparing with the first chosen row only; rounds that are not whole; a draw by the seed
alone.
"""

from __future__ import annotations

import math
import random
import re

import pytest

from tunelang.train import exemplars

WORDS = ["sun", "cat", "dog", "park", "mat", "red", "ran", "sat", "cold", "day"]


def texts(count: int, seed: int) -> list[str]:
    chance = random.Random(seed)
    return [
        " ".join(chance.choice(WORDS) for _ in range(chance.randint(1, 7))) for _ in range(count)
    ]


@pytest.mark.parametrize("seed", range(5))
def test_ranks_equal_a_full_search_and_ties_go_to_the_earlier_row(seed: int) -> None:
    """Scores of four values over 40 rows: pick the best remaining row, first one wins, 40 times."""
    chance = random.Random(seed)
    scores = [chance.randrange(4) / 3 for _ in range(40)]
    left, expected = list(range(40)), []
    while left:
        best = left[0]
        for row in left:
            if scores[row] > scores[best]:
                best = row
        left.remove(best)
        expected.append(best)
    assert exemplars.ranked(range(40), scores.__getitem__) == expected


def test_a_question_and_its_doubles_are_never_among_the_others() -> None:
    """Case and spacing do not make another question."""
    pool = exemplars.pool(["The sun", "the  SUN ", "a cat", "the sun!"], ["a"] * 4)
    assert exemplars.others(pool, "the sun") == [2, 3]


def second_bm25(documents: list[list[str]], query: list[str]) -> list[float]:
    """BM25 as a matrix over (term, document), written from the formula without `exemplars`."""
    mean = sum(map(len, documents)) / len(documents)
    scores = []
    for document in documents:
        total = 0.0
        for term in query:
            holding = sum(term in other for other in documents)
            idf = math.log(1 + (len(documents) - holding + 0.5) / (holding + 0.5))
            frequency = document.count(term)
            penalty = 1 - 0.75 + 0.75 * len(document) / mean
            total += idf * frequency * (1.5 + 1) / (frequency + 1.5 * penalty)
        scores.append(total)
    return scores


@pytest.mark.parametrize("seed", range(5))
def test_bm25_equals_a_second_implementation(seed: int) -> None:
    """All scores to 1e-12, with terms repeated in question and documents."""
    keys = texts(30, seed)
    question = " ".join(texts(2, seed + 100)) + " sun sun unknown"
    pool = exemplars.pool(keys, ["a"] * 30)
    ours = exemplars.bm25(pool, pool.rows, question)
    split = re.compile(r"\w+").findall
    theirs = second_bm25([split(key) for key in keys], split(question))
    assert [ours[row] for row in range(30)] == pytest.approx(theirs, abs=1e-12)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_diverse_equals_maximal_marginal_relevance_by_definition(share: float) -> None:
    """argmax over R minus S of share sim(d, q) - (1 - share) max over S of sim(d, s), each step."""
    chance = random.Random(1)
    near = [chance.random() for _ in range(20)]
    alike = [[chance.random() for _ in range(20)] for _ in range(20)]
    ours = exemplars.diverse(
        range(20), near.__getitem__, lambda one, other: alike[one][other], share, 20
    )
    chosen: list[int] = []
    while len(chosen) < 20:
        scored = []
        for row in (each for each in range(20) if each not in chosen):
            repeats = max((alike[other][row] for other in chosen), default=0.0)
            scored.append((share * near[row] - (1 - share) * repeats, row))
        top = max(score for score, _ in scored)
        chosen.append(min(row for score, row in scored if score == top))
    assert ours == chosen


def test_all_relevance_is_nearest() -> None:
    """MMR with share 1 is the plain ranking."""
    near = [0.2, 0.9, 0.9, 0.1]
    ours = exemplars.diverse(range(4), near.__getitem__, lambda *_: 1.0, 1.0, 4)
    assert ours == exemplars.ranked(range(4), near.__getitem__) == [1, 2, 0, 3]


@pytest.mark.parametrize("shots", [2, 3, 6, 9, 11])
def test_classes_are_balanced_exactly(shots: int) -> None:
    """Three classes of 20, 5 and 3 rows: as many of each, whatever is asked for, at most 3."""
    labels = ["a"] * 20 + ["b"] * 5 + ["c"] * 3
    order = exemplars.balanced(exemplars.drawn(range(28), 7, "question"), labels)
    taken = exemplars.within(order, shots, lambda rows: True)
    counts = [[labels[row] for row in taken].count(name) for name in "abc"]
    assert len(set(counts)) == 1
    assert counts[0] == min(shots // 3, 3)
    assert len(set(taken)) == len(taken)


@pytest.mark.parametrize("budget", [0, 3, 10, 17, 40])
def test_the_budget_is_kept_and_used(budget: int) -> None:
    """No choice is over it, and no row that was passed over would have fitted in its turn."""
    chance = random.Random(2)
    sizes = [chance.randint(1, 12) for _ in range(25)]

    def fits(rows: list[int]) -> bool:
        return sum(sizes[row] for row in rows) <= budget

    taken = exemplars.within(exemplars.singly(range(25)), 4, fits)
    assert fits(taken)
    assert len(taken) <= 4
    for row in range(max(taken, default=-1)):
        if row not in taken:
            assert not fits([*[each for each in taken if each < row], row])


def test_order_in_the_prompt() -> None:
    """The best next to the question, at the top, or as in the data."""
    assert exemplars.arranged([5, 2, 9], "best_last") == [9, 2, 5]
    assert exemplars.arranged([5, 2, 9], "best_first") == [5, 2, 9]
    assert exemplars.arranged([5, 2, 9], "rows") == [2, 5, 9]


def test_a_draw_depends_on_seed_and_question_only() -> None:
    """The same for the same, another for another; every row once."""
    first = exemplars.drawn(range(30), 4, "the sun")
    assert first == exemplars.drawn(range(30), 4, "The  sun")
    assert sorted(first) == list(range(30))
    assert first != exemplars.drawn(range(30), 5, "the sun")
    assert first != exemplars.drawn(range(30), 4, "a cat")
