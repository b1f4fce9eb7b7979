"""Our loops against TRL's trainers: the same losses, gradient norms and weights, update by update.

TRL is the reference where it has the method; these proofs are what lets our loop stand in.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import like_trl
import pytest
import torch
from workshop import LORA, Shop, largest_difference, part, place, schedule, training

from tunelang.plan.ir import Weights
from tunelang.train import loop, reward, sft, trainable
from tunelang.train.data import Split
from tunelang.train.evaluate import Lens
from tunelang.train.forward import Row
from tunelang.train.judge import Judge
from tunelang.train.losses import IGNORED
from tunelang.train.reward_lists import Comparison

os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")
trl = pytest.importorskip("trl")
datasets = pytest.importorskip("datasets")

STEPS = 4
LENS = Lens("fp32", "cpu", 0)
NOTHING = [{"prompt": "a", "reply": "b"}]


def settings(kind: Any, where: Path, **more: Any) -> Any:
    """Eight rows an update, two at a time."""
    batch = {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 4}
    return like_trl.settings(kind, where, STEPS, **batch, **more)


def ours(shop: Shop, method: str, objective: loop.Objective) -> list[dict[str, float]]:
    step = training(
        method,
        "ours",
        part("instruct", NOTHING),
        lr=1e-3,
        weights="full",
        schedule=schedule(STEPS, kind="linear", warmup=0, floor=0.0),
    )
    return loop.train(step, shop.job(step), objective)


def same_course(ours: list[dict[str, float]], theirs: list[dict[str, float]]) -> None:
    """Loss and gradient norm of every update to 2e-6 and 1e-5 of it (weights move by 2.5e-3)."""
    logged = [entry for entry in theirs if "loss" in entry]
    assert len(ours) == len(logged) == STEPS
    for mine, other in zip(ours, logged, strict=True):
        assert mine["loss"] == pytest.approx(other["loss"], abs=2e-6)
        assert mine["grad_norm"] == pytest.approx(other["grad_norm"], rel=1e-5)


def rows() -> list[Row]:
    """Eight rows of 5 to 26 tokens; the first third of each is prompt."""
    made = []
    for size in range(5, 29, 3):
        ids = [(7 * size + 3 * at) % 300 + 5 for at in range(size)]
        made.append(Row(ids, [IGNORED] * (size // 3) + ids[size // 3 :]))
    return made


def named(model: Any) -> dict[str, torch.Tensor]:
    return {name: value.detach() for name, value in model.named_parameters()}


@pytest.mark.parametrize("kind", ["full", "lora"])
def test_sft_is_trls(shop: Shop, tmp_path: Path, kind: str) -> None:
    """Eight rows an update, ours in micro-batches of 8, TRL's in 4 of 2 rows."""
    weights = Weights(kind=kind, fields=LORA if kind == "lora" else {})
    both = []
    for _ in range(2):
        torch.manual_seed(0)
        both.append(trainable.make_trainable(shop.load(), weights))
    data = datasets.Dataset.from_list(
        [{"input_ids": row.ids, "labels": row.labels} for row in rows()]
    )
    tokenizer = shop.load().tokenizer
    theirs = trl.SFTTrainer(
        model=both[1].model,
        args=settings(trl.SFTConfig, tmp_path),
        train_dataset=data,
        processing_class=tokenizer,
    )
    theirs.train()
    step = training("sft", "ours", part("instruct", NOTHING), place=place(8, 1))
    material = sft.Material([Split("rows", rows(), [])], [], [], None, LENS)  # type: ignore[arg-type]
    objective = sft.learn(step, both[0], material, dict)
    same_course(ours(shop, "sft", objective), theirs.state.log_history)
    assert largest_difference(named(both[0].model), named(both[1].model)) < 2e-5


def test_reward_modeling_is_trls(shop: Shop, tmp_path: Path) -> None:
    """Eight pairs an update with centering, on the same weights and the same head."""
    from transformers import LlamaForSequenceClassification

    pairs = [
        Comparison([row.ids, list(reversed(row.ids[: 4 + at]))], [(0, 1)])
        for at, row in enumerate(rows())
    ]
    start = shop.load()
    trained = trainable.make_trainable(start, Weights(kind="full", fields={}))
    start.model.config.num_labels = 1
    other = LlamaForSequenceClassification(start.model.config)
    other.model.load_state_dict(trained.model.model.state_dict())
    head = torch.nn.Linear(64, 1, bias=False)
    other.score.load_state_dict(head.state_dict())
    listed = [
        dict(zip(("chosen_ids", "rejected_ids"), pair.replies, strict=True)) for pair in pairs
    ]
    theirs = trl.RewardTrainer(
        model=other,
        args=settings(trl.RewardConfig, tmp_path, center_rewards_coefficient=0.01),
        train_dataset=datasets.Dataset.from_list(listed),
        processing_class=start.tokenizer,
    )
    theirs.train()
    judge = Judge(trained, head, LENS, 0.01, False)
    step = training("reward_modeling", "ours", part("instruct", NOTHING), place=place(8, 1))
    objective = reward.learn(step, judge, [Split("pairs", pairs, [])], [])
    same_course(ours(shop, "reward_modeling", objective), theirs.state.log_history)
    assert largest_difference(named(trained.model.model), named(other.model)) < 2e-5
    assert largest_difference(named(head), named(other.score)) < 2e-5
