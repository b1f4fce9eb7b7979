"""Rows become lists: best first, ties kept, what is too long or says nothing left out aloud."""

from __future__ import annotations

from typing import Any

from test_ranking import ranking, rankings
from workshop import BAD, GOOD, Shop, part, preferences

from tunelang.train.data import Example
from tunelang.train.losses import IGNORED
from tunelang.train.ranked import Ranked, Writer
from tunelang.train.speech import Speech


def writer(shop: Shop, **more: Any) -> Writer:
    return Writer(Speech(shop.load().tokenizer, None), 96, **more)


def example(**values: Any) -> Example:
    return Example("ranking", {"prompt": "words:", **values}, "here:1")


def said(one: Ranked, shop: Shop) -> list[str]:
    tokenizer = shop.load().tokenizer
    return [
        tokenizer.decode([i for i in row.labels if i != IGNORED][:-1]).strip()
        for row in one.replies
    ]


def test_ranks_and_scores_put_the_best_first(shop: Shop) -> None:
    """Rank 1 is the best; the highest score is. Ties stay and form no pair.

    Seen to fail: with ranks taken for scores.
    """
    replies = [" red", " sun", " mat"]
    by_rank = writer(shop)(example(replies=replies, ranks=[2, 1, 3]))[0]
    by_score = writer(shop)(example(replies=replies, scores=[0.5, 0.9, 0.1]))[0]
    assert said(by_rank, shop) == said(by_score, shop) == ["sun", "red", "mat"]
    tied = writer(shop)(example(replies=replies, ranks=[1, 2, 2]))[0]
    assert tied.labels == [-1.0, -2.0, -2.0]


def test_what_is_left_out_is_told(shop: Shop) -> None:
    """Replies over length, rows with fewer than two left, rows without a better reply, long lists.

    Seen to fail: with every reply kept whatever its length.
    """
    rows = rankings(40)
    rows[20]["replies"][0] = " sun" * 200
    rows[21] = {"prompt": "a", "replies": [" sun" * 200, " red"], "scores": [1, 2]}
    rows[22] = {"prompt": "a", "replies": [" sun", " red"], "scores": [2, 2]}
    shop.run(ranking("told", "pro", data=part("ranking", rows), fields={"candidates": 3}))
    notes = " ".join(shop.said("told", "note"))
    assert "1 replies longer than 96 tokens are left out of their lists" in notes
    assert "1 of 40 rows are left out: fewer than two replies fit 96 tokens" in notes
    assert "1 of 40 rows are left out: no reply is better than another" in notes
    assert "lists are thinned to 3 replies, best and worst kept" in notes


def test_thinned_lists_keep_best_and_worst(shop: Shop) -> None:
    """Of seven replies three stay: the first, the middle and the last."""
    replies = [f" {word}" for word in (*GOOD, *BAD[:3])]
    found = writer(shop, candidates=3)(example(replies=replies, ranks=[1, 2, 3, 4, 5, 6, 7]))[0]
    assert [-label for label in found.labels] == [1, 4, 7]


def test_long_replies_that_win_are_told_of(shop: Shop) -> None:
    """Where the better reply is mostly the longer one, a note says in how many pairs."""
    rows = [{**row, "chosen": row["chosen"] * 3} for row in preferences(40)]
    shop.run(ranking("long", "slic", data=part("preference", rows)))
    assert any("the longer one in 100% of pairs" in note for note in shop.said("long", "note"))
    shop.run(ranking("even", "slic", data=part("preference", preferences(40))))
    assert not any("the longer one" in note for note in shop.said("even", "note"))
