"""Lists of replies: one forward pass a reply, one element a list, and the same loss as pairs.

Seen to fail: pairs of a list weighted 1 for 1/C(K, 2) (the gradient of an embedding 100 off, the
first-loss check); ranks read as scores (the pairs upside down, accuracy 0.0); the gain not put into
the head (mean -0.20 for 0); `>=` for `>` (two pairs more among ties); the highest score for the
best reply in `best_of_sum` (K = 2 off by 3.5).
"""

from __future__ import annotations

import itertools
import json
import math
import random
from typing import Any

import pytest
import torch
from torch import Tensor
from workshop import BAD, GOOD, Shop, part, place, preferences, schedule, training

from tunelang.errors import UserError
from tunelang.plan.ir import HoldOut, Mixture
from tunelang.train import calibration, data, judge, losses, reward, selfcheck, stage
from tunelang.train.calibration import Judged
from tunelang.train.data import Split
from tunelang.train.evaluate import Lens
from tunelang.train.judge import Judge
from tunelang.train.reward_lists import Comparison, Writer
from tunelang.train.scoring import scores, scores_of
from tunelang.train.speech import Speech

K = 4


def rankings(count: int = 200, order: str = "ranks") -> list[dict[str, Any]]:
    """Four replies with different numbers of good words: the more, the better, in any place."""
    chance = random.Random(3)
    rows = []
    for _ in range(count):
        good = chance.sample(range(7), K)
        replies = []
        for each in good:
            words = [chance.choice(GOOD) for _ in range(each)]
            words += [chance.choice(BAD) for _ in range(6 - each)]
            chance.shuffle(words)
            replies.append(" " + " ".join(words))
        ranks = [1 + sum(other > each for other in good) for each in good]
        rows.append({"prompt": "words:", "replies": replies, order: good})
        if order == "ranks":
            rows[-1][order] = ranks
    return rows


def full_order(count: int = K) -> list[tuple[int, int]]:
    """Reply 0 is best, then 1, ..."""
    return list(itertools.combinations(range(count), 2))


def lists_of(shop: Shop, rows: list[dict[str, Any]], **more: Any) -> list[Comparison]:
    """Rows as a worker reads them, none held out."""
    kind = "ranking" if "replies" in rows[0] else "preference"
    read = part(kind, rows, hold_out=None)
    writer = Writer(Speech(shop.load().tokenizer, None), 96, **more)
    return data.encode(data.load_part(read, shop.job(training("sft", "read", read))), writer).train


def fresh(shop: Shop, rows: list[dict[str, Any]], **more: Any) -> tuple[Judge, list[Comparison]]:
    """An untrained judge on full fp32 weights, and the rows it would read."""
    step = training("reward_modeling", "fresh", part("preference", preferences(9)), weights="full")
    made = reward.build(step, shop.job(step), shop.load())
    fields = {"center": 0.01, **more}
    return Judge(made.trained, made.head, made.lens, margin=False, **fields), lists_of(shop, rows)


def gradients(made: Judge, loss: Tensor) -> dict[str, Tensor]:
    named = {**dict(made.trained.model.named_parameters()), "head": made.head.weight}
    found = torch.autograd.grad(loss, list(named.values()), allow_unused=True)
    return {name: each for name, each in zip(named, found, strict=True) if each is not None}


def one_pair(made: Judge, better: list[int], worse: list[int]) -> Tensor:
    """The pair loss written out, each reply in a forward pass of its own."""
    won = scores(made.trained.model, made.head.weight, [better], made.lens)[0]
    lost = scores(made.trained.model, made.head.weight, [worse], made.lens)[0]
    return -torch.log(torch.sigmoid(won - lost)) + made.center * (won + lost) ** 2


def test_a_list_of_two_is_a_pair() -> None:
    """K = 2: the list loss, the pair loss and the best of two are one number."""
    drawn = torch.randn(5, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    better, worse = drawn[:, 0], drawn[:, 1]
    pairs = losses.bradley_terry_sum(better, worse, center=0.01)
    one = torch.ones(5, dtype=torch.float64)
    assert torch.equal(losses.bradley_terry_sum(better, worse, center=0.01, weight=one), pairs)
    best = losses.best_of_sum(list(drawn), [0] * 5, center=0.01)
    assert abs(float(best) - float(pairs)) < 1e-10


def test_the_gradient_of_a_list_is_the_mean_over_its_pairs(shop: Shop) -> None:
    """loss(list) = 1/C(K, 2) sum over pairs, each pair in passes of its own: equal gradients."""
    made, lists = fresh(shop, rankings(3))
    ours = gradients(made, judge.list_loss(made, lists, judge.scored(made, lists)))
    second = torch.zeros(())
    for one in lists:
        pairs = [one_pair(made, one.replies[i], one.replies[j]) for i, j in one.pairs]
        assert len(pairs) == math.comb(K, 2)
        second = second + torch.stack(pairs).sum() / len(pairs)
    theirs = gradients(made, second)
    assert ours.keys() == theirs.keys()
    for name, mine in ours.items():
        size = float(theirs[name].norm())
        assert float((mine - theirs[name]).norm()) < 1e-4 * size + 1e-7, name


def test_a_reply_goes_through_the_model_once(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """K rows a list, not K (K - 1): InstructGPT's saving of K - 1 times."""
    made, lists = fresh(shop, rankings(3))
    seen: list[int] = []
    inner = scores

    def counting(model: Any, head: Tensor, ids: Any, lens: Any) -> Tensor:
        seen.append(len(ids))
        return inner(model, head, ids, lens)

    monkeypatch.setattr(judge, "scores", counting)
    judge.list_loss(made, lists, judge.scored(made, lists))
    assert seen == [3 * K]


def test_a_list_counts_as_one_element(shop: Shop) -> None:
    """A list of four and a pair, mixed in one update, have the mean of their two losses."""
    made, (long, *_) = fresh(shop, rankings(1), center=0.0)
    short = Comparison(long.replies[:2], [(0, 1)])
    each = [float(judge.list_loss(made, [one], judge.scored(made, [one]))) for one in (long, short)]
    step = training("reward_modeling", "one", part("preference", preferences(9)), place=place(1))
    (update,) = itertools.islice(reward.updates(step, [Split("both", [long, short], [])], 0), 1)
    assert update.total == step.batch.size if step.batch else False
    assert all(len(micro) == 1 for micro in update.micros if long in micro)
    both = judge.list_loss(made, [long, short], judge.scored(made, [long, short]))
    assert float(both) == pytest.approx(sum(each), abs=1e-5)


def test_shifts_cost_nothing_and_a_swap_negates(shop: Shop) -> None:
    """Without centering a constant changes no list loss; swapped pairs have the opposite gap."""
    made, lists = fresh(shop, rankings(2), center=0.0)
    found = [torch.randn(K, generator=torch.Generator().manual_seed(at)) for at in range(2)]
    for best_of in (False, True):
        asked = Judge(made.trained, made.head, made.lens, 0.0, False, best_of)
        plain = judge.list_loss(asked, lists, found)
        moved = judge.list_loss(asked, lists, [own + 7.0 for own in found])
        assert float(plain) == pytest.approx(float(moved), abs=1e-5)
    swapped = [Comparison(one.replies, [(j, i) for i, j in one.pairs]) for one in lists]
    gaps = [pair.gap for pair in judge.judged(made, lists, found)]
    assert [-pair.gap for pair in judge.judged(made, swapped, found)] == gaps


def test_the_best_of_a_list_is_a_softmax() -> None:
    """-log softmax(s)[best], against torch's cross-entropy; equal scores cost log K."""
    drawn = torch.tensor([[0.3, -1.2, 2.0, 0.1], [1.0, 1.0, 1.0, 1.0]])
    expected = torch.nn.functional.cross_entropy(drawn, torch.tensor([2, 0]), reduction="sum")
    assert float(losses.best_of_sum(list(drawn), [2, 0])) == pytest.approx(float(expected))
    assert float(losses.best_of_sum([drawn[1]], [0])) == pytest.approx(math.log(4))


def test_ties_form_no_pair(shop: Shop) -> None:
    """Of four replies with ranks 1, 2, 2, 3 five pairs are left; all tied: the row is left out."""
    row = rankings(1)[0]
    tied = {**row, "ranks": [1, 2, 2, 3]}
    (made,) = lists_of(shop, [tied])
    assert sorted(made.pairs) == [(0, 1), (0, 2), (0, 3), (1, 3), (2, 3)]
    assert made.best == 0
    assert lists_of(shop, [{**row, "ranks": [1, 1, 1, 1]}, tied]) == [made]
    two_best = {**row, "ranks": [1, 1, 2, 3]}
    assert len(lists_of(shop, [two_best, tied])) == 2
    assert lists_of(shop, [two_best, tied], best_of=True) == [made]


def test_rank_one_is_best_and_more_score_is_better(shop: Shop) -> None:
    """The same order, once in ranks and once in scores, makes the same pairs."""
    by_rank = [sorted(one.pairs) for one in lists_of(shop, rankings(5, "ranks"))]
    by_score = [sorted(one.pairs) for one in lists_of(shop, rankings(5, "scores"))]
    assert by_rank == by_score


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"ranks": [1, 2, 3]}, "4 replies and 3 ranks"),
        ({"ranks": [1, 2, 3, "last"]}, "`ranks` number 4 is 'last', not a number"),
        ({"ranks": 1}, "`ranks` holds a number, not a list of numbers"),
    ],
)
def test_a_list_that_does_not_match_is_told(shop: Shop, wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError) as told:
        lists_of(shop, [{**rankings(1)[0], **wrong}])
    assert told.value.diagnostic.code == "TL320"
    assert said in told.value.diagnostic.message


@pytest.mark.parametrize(("loss", "order"), [("pairs", "ranks"), ("best_of", "scores")])
def test_ranked_lists_are_learnt(shop: Shop, loss: str, order: str) -> None:
    """P08 for lists: 95% of all held-out pairs in the right order, from chance."""
    rows = part("ranking", rankings(200, order), hold_out=HoldOut(rows=30))
    step = training(
        "reward_modeling",
        "lists",
        rows,
        lr=5e-3,
        schedule=schedule(60),
        fields={"center": 0.01, "loss": loss},
    )
    metrics = shop.run(step)
    start = math.log(2) if loss == "pairs" else math.log(K)
    assert metrics["before"]["loss"] == pytest.approx(start, abs=0.1)
    assert metrics["after"]["accuracy"] >= 0.95


def test_pairs_and_lists_mix(shop: Shop) -> None:
    """A pair is a list of two: both formats in one mix, both drawn and measured."""
    both = Mixture(
        parts=[part("ranking", rankings(40)), part("preference", preferences(40))],
    )
    metrics = shop.run(training("reward_modeling", "both", both, fields={"center": 0.01}))
    assert metrics["after"]["loss"] < metrics["before"]["loss"]


def test_micro_batches_do_not_change_what_is_learnt(shop: Shop) -> None:
    """Eight lists at once or one reply list at a time: the same weights to rounding."""
    found = []
    for micro in (16, 1):
        key = f"micro{micro}"
        rows = part("ranking", rankings(40))
        step = training("reward_modeling", key, rows, weights="full", place=place(micro), lr=1e-3)
        shop.run(step)
        found.append(dict(shop.load(key).model.named_parameters()))
    assert max(float((found[0][name] - found[1][name]).abs().max()) for name in found[0]) < 2e-5


def test_long_replies_leave_their_list_aloud(shop: Shop) -> None:
    """One reply over length: three are compared. Three over length: the row is left out."""
    rows = rankings(20)
    rows[4]["replies"][1] = " sun" * 200
    rows[5]["replies"][1:] = [" sun" * 200] * 3
    shop.run(training("reward_modeling", "cut", part("ranking", rows, hold_out=HoldOut(rows=2))))
    notes = " ".join(shop.said("cut", "note"))
    assert "1 of 20 pairs are left out: a side is longer than 96 tokens" in notes
    assert "1 replies longer than 96 tokens are left out of their lists" in notes


@pytest.mark.parametrize("normalize", ["mean", "mean_and_variance"])
def test_the_saved_scores_are_normalised(shop: Shop, normalize: str) -> None:
    """mean: best training replies average 0. mean_and_variance: all have mean 0, variance 1."""
    rows = part("ranking", rankings(28))
    step = training(
        "reward_modeling", "scaled", rows, fields={"center": 0.01, "normalize": normalize}
    )
    metrics = shop.run(step)
    kept = shop.load("scaled")
    assert kept.head is not None
    writer = Writer(Speech(kept.tokenizer, kept.template), 96)
    split = data.encode(data.load_part(rows, shop.job(step)), writer)
    lens = Lens("fp32", "cpu", kept.tokenizer.pad_token_id)
    scored = [
        scores_of(kept.model, kept.head, one.replies, lens) + kept.bias for one in split.train
    ]
    if normalize == "mean":
        best = [
            own[one.best]
            for one, own in zip(split.train, scored, strict=True)
            if one.best is not None
        ]
        assert abs(float(torch.stack(best).mean())) < 1e-4
    else:
        every = torch.cat(scored)
        assert abs(float(every.mean())) < 1e-4
        assert float(every.std(correction=0)) == pytest.approx(1.0, abs=1e-3)
    gaps = [
        float(own[i] - own[j])
        for one, own in zip(
            split.held_out,
            [scores_of(kept.model, kept.head, one.replies, lens) for one in split.held_out],
            strict=True,
        )
        for i, j in one.pairs
    ]
    assert metrics["after"]["margin"] == pytest.approx(sum(gaps) / len(gaps), abs=1e-4)


def test_calibration_is_what_guo_defines() -> None:
    """Four pairs by hand: two at confidence sigma(2), of which one is wrong, two sure and right."""
    pairs = [Judged(2.0, 1), Judged(-2.0, -1), Judged(9.0, -3), Judged(9.0, 2)]
    table = calibration.reliability(pairs)
    assert [(row["pairs"], row["accuracy"]) for row in table] == [(2, 0.5), (2, 1.0)]
    sure, unsure = 1 / (1 + math.exp(-9)), 1 / (1 + math.exp(-2))
    expected = 0.5 * abs(0.5 - unsure) + 0.5 * abs(1.0 - sure)
    assert calibration.error(table) == pytest.approx(expected)
    assert calibration.length_metrics(pairs) == {"shorter_accuracy": 0.5, "longer_accuracy": 1.0}


def test_scores_of_a_calibrated_judge_are_calibrated() -> None:
    """Labels drawn from sigma(gap) have an error near 0; the same gaps times five do not."""
    chance = random.Random(0)
    gaps = [chance.uniform(0, 3) for _ in range(4000)]
    drawn = [gap if chance.random() < calibration.sigma(gap) else -gap for gap in gaps]
    honest = calibration.error(calibration.reliability([Judged(gap, 0) for gap in drawn]))
    loud = calibration.error(calibration.reliability([Judged(5 * gap, 0) for gap in drawn]))
    assert honest < 0.03
    assert loud > 0.1


def test_length_correlation_is_within_prompts() -> None:
    """Score = tokens: 1. Score = -tokens: -1. A long prompt with high scores alone: nothing."""
    lengths = [[4, 6, 9], [104, 110, 103]]
    assert calibration.length_correlation(lengths, lengths) == pytest.approx(1.0)
    turned = [[-1.0 * each for each in own] for own in lengths]
    assert calibration.length_correlation(turned, lengths) == pytest.approx(-1.0)
    assert calibration.length_correlation([[0, 0, 0], [9, 9, 9]], lengths) is None


def test_a_judge_of_length_is_caught(shop: Shop) -> None:
    """Longer replies always win in training: the report says so, and so does calibration.json."""
    chance = random.Random(4)
    rows = []
    for _ in range(80):
        words = [chance.choice(GOOD + BAD) for _ in range(10)]
        rows.append(
            {
                "prompt": "words:",
                "chosen": " " + " ".join(words[: chance.randint(6, 10)]),
                "rejected": " " + " ".join(words[: chance.randint(1, 5)]),
            }
        )
    step = training(
        "reward_modeling", "long", part("preference", rows), lr=5e-3, schedule=schedule(30)
    )
    metrics = shop.run(step)
    assert metrics["after"]["length_correlation"] > 0.8
    kept = json.loads((shop.store.object("long") / "calibration.json").read_text())
    assert kept["length_correlation"] == metrics["after"]["length_correlation"]
    assert kept["calibration_error"] == metrics["after"]["calibration_error"]
    assert sum(row["pairs"] for row in kept["reliability"]) == kept["pairs"] == 8


def test_a_head_in_bf16_or_frozen_stops_the_run(shop: Shop) -> None:
    """L12 and L13: the head trains, in fp32, or the step fails its self-check."""
    made, lists = fresh(shop, rankings(2))
    job = shop.job(training("reward_modeling", "heads", part("preference", preferences(9))))
    reward.check(job, made, lists)
    made.head.weight.requires_grad_(False)
    with pytest.raises(UserError) as told:
        reward.check(job, made, lists)
    assert "head" in told.value.diagnostic.message
    made.head.to(torch.bfloat16).weight.requires_grad_(True)
    with pytest.raises(UserError):
        reward.check(job, made, lists)


def test_what_a_first_list_loss_may_be(shop: Shop) -> None:
    """The self-check of the first loss holds for lists, and fails for a loss that is not theirs."""
    made, lists = fresh(shop, rankings(4))
    job = shop.job(training("reward_modeling", "first", part("preference", preferences(9))))
    reward.check(job, made, lists)
    with pytest.raises(UserError):
        selfcheck.first_pairs(job, 9.0, torch.tensor([0.1]))
    groups = stage.micros(lists, 4, lambda one: one.longest, lambda one: len(one.replies))
    assert all(groups) and len(groups) == 4
