"""Labelled rows and steps of few_shot over the workshop's tiny model."""

from __future__ import annotations

import random
from typing import Any

import killed
import pytest
from workshop import BAD, COMMON, GOOD, TINY, Shop, blank, part, schedule, training

from tunelang.plan.ir import HoldOut, Mixture, Step, StoreModel

IN_CONTEXT = {
    "kind": "in_context",
    "select": "random",
    "shots": 4,
    "order": "best_last",
    "separator": "\n\n",
    "share": 0.5,
    "pattern": "{text} is",
    "words": None,
}
TUNED = {
    "kind": "tuned",
    "pattern": "{text} is",
    "words": None,
    "unlikelihood": 1.0,
    "length_normalised": 1.0,
}
CONTRASTIVE = {"kind": "contrastive", "pairs": "oversampling"}
IA3 = {"targets": "paper", "feedforward": None}


def moods(each: int, seed: int = 3) -> list[dict[str, Any]]:
    """`each` rows of both labels: four words, all good or all bad. No text comes twice."""
    chance = random.Random(seed)
    found: dict[str, str] = {}
    for label, words in (("calm", GOOD), ("wild", BAD)):
        while sum(name == label for name in found.values()) < each:
            found[" ".join(chance.choice(words) for _ in range(4))] = label
    rows = [{"text": text, "label": label} for text, label in found.items()]
    chance.shuffle(rows)
    return rows


def labelled(rows: list[dict[str, Any]], held_out: int = 16) -> Mixture:
    return Mixture(parts=[part("labelled", rows, hold_out=HoldOut(rows=held_out))])


def prompted_step(key: str, data: Mixture, **mode: Any) -> Step:
    """A step that indexes exemplars."""
    length = mode.pop("length", 256)
    inputs = {"model": StoreModel(key=TINY), **mode.pop("inputs", {})}
    return blank(
        "few_shot",
        key,
        worker="tunelang.train.few_shot",
        product="prompted",
        inputs=inputs,
        data=data,
        length=length,
        fields={"mode": {**IN_CONTEXT, **mode}},
    )


def tuned_step(key: str, data: Mixture, **more: Any) -> Step:
    """A step with T-Few's losses; `mode` changes its fields."""
    mode = {**TUNED, **more.pop("mode", {})}
    fixed = {"worker": "tunelang.train.tfew", "fields": {**COMMON, "mode": mode}}
    return training("few_shot", key, data, **{**fixed, **more})


def contrastive_step(key: str, data: Mixture, **more: Any) -> Step:
    mode = {**CONTRASTIVE, **more.pop("mode", {})}
    fixed = {
        "worker": "tunelang.train.contrastive",
        "product": "classifier",
        "weights": "full",
        "lr": 1e-3,
        "fields": {**COMMON, "mode": mode},
    }
    return training("few_shot", key, data, **{**fixed, **more})


def resumes(
    shop: Shop, patch: pytest.MonkeyPatch, make: Any, killed_at: int = 5, every: int = 2
) -> None:
    """A step killed after update 5 and started again: the same weights, metrics and curve."""
    plan = schedule(8, save_every=every, eval_every=3)
    kept = killed_at // every * every
    killed.resumes(shop, patch, lambda key: make(key, plan), killed_at, kept)
