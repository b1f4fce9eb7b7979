"""kto as it runs: first loss, the baseline of an update, its reference kept, and going on."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from killed import resumes
from workshop import Shop, part, place, preferences, schedule, training

from tunelang.plan import reference as planned
from tunelang.plan.ir import HoldOut, Step, StoreModel, Weights
from tunelang.train import trainable
from tunelang.train.course import Policy
from tunelang.train.data import Example
from tunelang.train.evaluate import Lens
from tunelang.train.judged import Writer
from tunelang.train.kto import Singles
from tunelang.train.likelihood import sums
from tunelang.train.losses import IGNORED
from tunelang.train.reference import Frozen
from tunelang.train.speech import Speech

LENS = Lens("fp32", "cpu", 0)
FIELDS = {"beta": 0.1, "desirable": 1.0, "undesirable": 2.0}


def feedback(count: int = 60) -> list[dict[str, Any]]:
    """Good replies have more good words than bad ones have."""
    return [
        {"prompt": f"words {at}:", "reply": row["chosen" if at % 2 else "rejected"], "good": at % 2}
        for at, row in enumerate(preferences(count))
    ]


def kto(key: str, **more: Any) -> Step:
    data = more.pop("data", part("feedback", [{**r, "good": bool(r["good"])} for r in feedback()]))
    step = training("kto", key, data, fields=FIELDS, worker="tunelang.train.kto", **more)
    return step.model_copy(update={"inputs": {"reference": step.inputs["model"], **step.inputs}})


def checks(shop: Shop, key: str) -> dict[str, float]:
    return {e["name"]: e["value"] for e in shop.events(key) if e["event"] == "check"}


@pytest.mark.parametrize("weights", ["lora", "full"])
def test_good_replies_become_likelier(shop: Shop, weights: str) -> None:
    """At first half of the mean weight; afterwards held-out replies lie on their side of z.

    Seen to fail: with `good` turned round in `goodness` the log-ratios that are taken apart from
    the product's own metrics lie the wrong way.
    """
    rows = [{**row, "good": bool(row["good"])} for row in feedback(160)]
    data = part("feedback", rows, hold_out=HoldOut(rows=40))
    more = {"lr": 1e-2 if weights == "lora" else 2e-3, "schedule": schedule(40)}
    metrics = shop.run(kto("better", weights=weights, data=data, **more))
    first = checks(shop, "better")["first-loss"]
    good = first_good(shop, data)
    assert first == pytest.approx(sum(0.5 if one else 1.0 for one in good) / len(good), abs=1e-5)
    assert metrics["before"]["accuracy"] == 0.5
    assert metrics["before"]["kl"] == 0.0
    assert metrics["after"]["margin"] > 0.05
    assert metrics["after"]["loss"] < metrics["before"]["loss"]
    start = shop.load()
    write = Writer(Speech(start.tokenizer, start.template), 96)
    every = write.write([Example("feedback", row, "here") for row in rows])
    replies = [one.reply for one in every]
    ratio = sums(shop.load("better").model, replies, LENS) - sums(start.model, replies, LENS)
    good = torch.tensor([row["good"] for row in rows])
    assert float(ratio[good].mean() - ratio[~good].mean()) > 0.5


def first_good(shop: Shop, data: Any) -> list[bool]:
    """The judgements of the first eight training rows, which the self-check looks at."""
    from tunelang.sources import rows as sources

    return [row.values["good"] for row in sources.split(sources.read(data), data).train[:8]]


def test_micro_batches_do_not_change_an_update(shop: Shop) -> None:
    """The baseline is over the whole update: gradients of 8 rows at once and 2 at a time agree.

    Seen to fail: with a baseline of each micro-batch.
    """
    step, ends = kto("x"), []
    moved = trainable.make_trainable(shop.load(), Weights(kind="full", fields={}))
    with torch.no_grad():  # away from its reference, so that z is not 0
        for value in moved.model.parameters():
            value.add_(0.02 * torch.randn(value.shape, generator=torch.Generator().manual_seed(5)))
    policy = Policy(moved, LENS, Frozen(shop.load().model, LENS))
    write = Writer(Speech(shop.load().tokenizer, None), 96)
    taken = write.write([Example("feedback", row, "here") for row in feedback(8)])
    for micro in (8, 2):
        course = Singles(step.model_copy(update={"place": place(micro)}), shop.job(step))
        update = course.update(policy, list(taken), micro)
        moved.model.zero_grad()
        for each in update.micros:
            (course.loss(policy, each) / update.total).backward()
        found = [value.grad for value in moved.model.parameters() if value.grad is not None]
        ends.append(torch.cat([gradient.flatten().clone() for gradient in found]))
    assert float(update.micros[0].baseline) > 0
    assert float((ends[0] - ends[1]).abs().max()) < 1e-5 * float(ends[0].abs().max())


def test_each_row_meets_the_reply_before_it(shop: Shop) -> None:
    """Row i's prompt with reply i - 1, the first with the last; a reply that then is too long is
    passed over for the one before it.

    Seen to fail: with each row beside its own reply.
    """
    speech = Speech(shop.load().tokenizer, None)
    replies = [" sun", " red", " mat", " cat"]
    rows = [{"prompt": f"say {at}", "reply": r, "good": True} for at, r in enumerate(replies)]
    found = Writer(speech, 96).write([Example("feedback", row, "here") for row in rows])

    def reply(row: Any) -> str:
        return str(speech.tokenizer.decode([i for i in row.labels if i != IGNORED][:-1]).strip())

    assert [reply(one.other) for one in found] == ["cat", "sun", "red", "mat"]
    assert all(one.other.ids[:3] == one.reply.ids[:3] for one in found)


def test_a_baseline_never_holds_a_reply_to_the_same_prompt(shop: Shop) -> None:
    """A good and a bad reply to one prompt follow each other, as pairs taken apart do; each meets
    a reply to another prompt. A row without one keeps its own, and that is counted.

    Seen to fail: without the comparison of prompts, the second row met the first one's reply.
    """
    speech = Speech(shop.load().tokenizer, None)
    texts = [("say 0", " sun"), ("say 0", " red"), ("say 1", " mat"), ("say 1", " cat")]
    rows = [
        Example("feedback", {"prompt": asked, "reply": reply, "good": True}, "here")
        for asked, reply in texts
    ]
    writer = Writer(speech, 96)
    others = [speech.tokenizer.decode(one.other.ids) for one in writer.write(rows)]
    wanted = ["cat", "cat", "red", "red"]
    assert all(want in text for want, text in zip(wanted, others, strict=True))
    assert writer.tally.alone == 0
    alone = writer.write(rows[:2])
    assert [one.other for one in alone] == [one.reply for one in alone]
    assert writer.tally.alone == 2


def test_precomputed_is_live(shop: Shop) -> None:
    """Kept values hold the mismatched rows too, and the run ends where it ends with them live."""
    live = kto("live", weights="full", lr=1e-3)
    before = planned.computing(live)
    shop.run(before)
    once = kto("once", weights="full", lr=1e-3)
    inputs = {**once.inputs, planned.LOG_PROBS: StoreModel(key=before.key)}
    first, second = shop.run(live), shop.run(once.model_copy(update={"inputs": inputs}))
    for name, value in first["after"].items():
        assert second["after"][name] == pytest.approx(value, abs=1e-5)
    write = Writer(Speech(shop.load().tokenizer, None), 96)
    rows = [e.reply for e in write.write([Example("feedback", r, "here") for r in feedback(8)])]
    ends = [sums(shop.load(key).model, rows, LENS) for key in ("live", "once")]
    assert float((ends[0] - ends[1]).abs().max()) < 1e-4


def test_killed_and_resumed_equals_never_killed(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights and metrics bit for bit; the baseline draws no random number."""
    settings = {"adapter": {"dropout": 0.1}, "schedule": schedule(9, save_every=3, eval_every=4)}
    resumes(shop, monkeypatch, lambda key: kto(key, **settings), 7, 6)
