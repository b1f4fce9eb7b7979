"""A classifier: what it reads, what it learns, and that it is kept to the bit."""

from __future__ import annotations

import json
import math
import random
from typing import Any

import pytest
import torch
from workshop import BAD, GOOD, LORA, Shop, collect, part, schedule, training

from tunelang.errors import UserError
from tunelang.plan.ir import HoldOut, Step, StoreModel, Weights
from tunelang.train import classifier, labelled
from tunelang.train.data import Example, Split
from tunelang.train.evaluate import Lens
from tunelang.train.job import Job
from tunelang.train.speech import Speech

LENS = Lens("fp32", "cpu", 0)
ROWS = [[5, 6, 7], [9, 8, 7, 6, 5, 4, 3], [12] * 20, [7]]
PACE: dict[str, Any] = {
    "head": {"kind": "classes", "pooling": "concat"},
    "unfreeze": {"kind": "none"},
    "discriminative": 1.0,
    "probe": 0,
    "l2_sp": {"alpha": 0.0, "beta": 0.01},
}


def moods(count: int = 80) -> list[dict[str, Any]]:
    """Seven words; `fine` if most are good ones, else `poor`."""
    chance = random.Random(5)
    rows = []
    for _ in range(count):
        good = chance.randrange(8)
        words = [chance.choice(GOOD) for _ in range(good)]
        words += [chance.choice(BAD) for _ in range(7 - good)]
        chance.shuffle(words)
        rows.append({"text": " ".join(words), "label": "fine" if good > 3 else "poor"})
    return rows


def transfer(key: str, rows: list[dict[str, Any]] | None = None, **more: Any) -> Step:
    """A transfer of the tiny model to classes: 6 updates of 8 rows, every weight at lr 3e-3."""
    kind, settings = more.pop("kind", "full"), more.pop("settings", {})
    fixed: dict[str, Any] = {
        "worker": "tunelang.train.transfer",
        "product": "classifier",
        "weights": "full",
        "fields": {**PACE, **more.pop("fields", {})},
    }
    data = part("labelled", rows or moods(), hold_out=HoldOut(rows=more.pop("held_out", 16)))
    step = training("transfer", key, data, **{**fixed, **more})
    return step.model_copy(update={"weights": Weights(kind=kind, fields=settings)})


def opened(shop: Shop, key: str) -> classifier.Classifier:
    job = Job(shop.home, shop.store.work("open"), shop.store, lambda event: None)
    return classifier.opened(StoreModel(key=key), job, precision="fp32")[0]


@pytest.mark.parametrize("pooling", ["last", "mean", "concat"])
def test_pooling_reads_real_tokens_only(shop: Shop, pooling: str) -> None:
    """Beside longer rows as alone, and equal to the definition on the row's own states.

    Seen to fail: the mean over padded positions; the last state at T - 1 of the batch.
    """
    model = shop.load().model
    with torch.no_grad():
        together = classifier.features(model, ROWS, pooling, LENS)
        for row, found in zip(ROWS, together, strict=True):
            states = model.get_decoder()(input_ids=torch.tensor([row])).last_hidden_state[0]
            last, mean, most = states[-1], states.mean(0), states.max(0).values
            wanted = {"last": last, "mean": mean, "concat": torch.cat([last, most, mean])}
            assert torch.allclose(found, wanted[pooling], atol=1e-5)
    in_order = classifier.features_of(model, ROWS, pooling, LENS)
    assert torch.allclose(in_order, together, atol=1e-5)


def test_classes_are_learnt_from_chance(shop: Shop) -> None:
    """The first loss is ln 2 exactly, as a head of zeros has it; at least 95% of held-out rows are
    right after 80 updates. The classes are sorted and told.

    Seen to fail: the head left out of the groups (no gradient passes a head of zeros).
    """
    step = transfer("told", moods(300), held_out=60, schedule=schedule(80))
    metrics = shop.run(step)
    assert metrics["before"]["loss"] == pytest.approx(math.log(2), abs=1e-6)
    assert metrics["after"]["accuracy"] >= 0.95
    assert metrics["after"]["macro_f1"] >= 0.94
    made = opened(shop, "told")
    assert made.labels == ("fine", "poor")
    assert any("2 classes, with their rows: fine" in text for text in shop.said("told", "note"))
    tokenizer = shop.load("told").tokenizer
    asked = [
        tokenizer("sun cat dog sun park")["input_ids"],
        tokenizer("mat red ran sat")["input_ids"],
    ]
    ended = [[*ids, tokenizer.eos_token_id] for ids in asked]
    assert classifier.predict(made, ended) == ["fine", "poor"]


KEPT = [
    ("full", {}),
    ("layers", {"last": 1}),
    ("head", {}),
    ("lora", LORA),
]


@pytest.mark.parametrize(("kind", "settings"), KEPT, ids=[kind for kind, _ in KEPT])
def test_what_is_saved_tells_what_was_trained(
    shop: Shop, kind: str, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Loaded twice: logits with the same bits. Own weights: the bits of the model that trained;
    a merged adapter to 1e-5.

    Seen to fail: the head's bias kept as zeros.
    """
    live: list[torch.Tensor] = []
    kept = classifier.kept

    def seen(made: classifier.Classifier) -> dict[str, Any]:
        live.append(classifier.logits_of(made, ROWS))
        return kept(made)

    monkeypatch.setattr(classifier, "kept", seen)
    shop.run(transfer("kept", kind=kind, settings=settings))
    first, second = opened(shop, "kept"), opened(shop, "kept")
    ours = classifier.logits_of(first, ROWS)
    assert torch.equal(ours, classifier.logits_of(second, ROWS))
    assert float(first.head.weight.abs().max()) > 0
    if kind == "lora":
        assert float((ours - live[0]).abs().max()) < 1e-5
    else:
        assert torch.equal(ours, live[0])


def test_a_probe_is_a_head_beside_its_start(shop: Shop) -> None:
    """`weights = head` saves the head alone; its body is the start's, bit for bit."""
    shop.run(transfer("probe", kind="head"))
    folder = shop.store.object("probe")
    assert {path.name for path in folder.rglob("*.safetensors")} == {"head.safetensors"}
    said = json.loads((folder / "product.json").read_text())
    assert (said["kind"], said["base"]["key"], said["deltas"]) == ("classifier", "tiny", [])
    start = dict(shop.load().model.named_parameters())
    for name, value in shop.load("probe").model.named_parameters():
        assert torch.equal(value, start[name])


def test_macro_f1_is_the_mean_over_classes() -> None:
    """By hand: truth aabbc, told abbbb: F1 of a 2/3, of b 2/3 (2 of 4 told, both there), of c 0."""
    truth, told = torch.tensor([0, 0, 1, 1, 2]), torch.tensor([0, 1, 1, 1, 1])
    assert classifier.macro_f1(told, truth) == pytest.approx((2 / 3 + 2 / 3 + 0) / 3)


def test_numbers_are_sorted_as_numbers(shop: Shop) -> None:
    """Labels 0 .. 10 stand in the order of their size, whatever they are written as.

    Seen to fail: labels numbered in the order of the rows.
    """
    rows = [{"text": f"{GOOD[n % 4]} {BAD[n % 3]}", "label": n % 11} for n in range(60)]
    shop.run(transfer("numbers", rows))
    assert opened(shop, "numbers").labels == tuple(map(str, range(11)))


def test_long_texts_are_cut_aloud_and_keep_their_end(shop: Shop) -> None:
    """`last` would else read another token in those rows than in all others."""
    rows = moods(40)
    rows[20]["text"] = "sun " * 200
    shop.run(transfer("cut", rows))
    assert any("1 of 40 texts are longer than 96 tokens" in t for t in shop.said("cut", "note"))


def test_one_class_is_refused(shop: Shop) -> None:
    """Nothing can be told apart."""
    with pytest.raises(UserError) as found:
        shop.run(transfer("one", [{**row, "label": "fine"} for row in moods(40)]))
    assert found.value.diagnostic.code == "TL737"


def test_a_class_of_held_out_rows_alone_is_refused(shop: Shop) -> None:
    """Classes are those of rows to train on; a row of another has no place in the head, and would
    count as wrong in silence."""
    known = [Example("labelled", row, "") for row in moods(8)]
    other = Example("labelled", {"text": "sun", "label": "new"}, "rows:9")
    events, emit = collect()
    job = Job(shop.home, shop.store.work("new"), shop.store, emit)
    names = labelled.classes([Split("moods", known, [other])], job)
    assert names == ("fine", "poor")
    assert "2 classes" in events[0]["text"]
    speech = Speech(shop.load().tokenizer, None)
    write = labelled.Writer(speech, 96, {name: at for at, name in enumerate(names)})
    assert write(known[0])[0].label == names.index(known[0].values["label"])
    with pytest.raises(UserError) as found:
        write(other)
    assert found.value.diagnostic.code == "TL738"
