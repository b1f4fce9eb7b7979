"""grpo and rloo against TRL's trainers on the same replies: losses and gradients of every update.

TRL's tokenisation and generation are replaced by fixed tokens, its reward function by a table;
everything after that is its own: advantages, log-probabilities, reference, loss, accumulation and
optimizer. Two rollouts are learnt from twice each, so that ratios leave 1 and are clipped.

Seen to fail: with `std(unbiased=False)` in `group_relative`; with `average` exchanged; with KL left
out of rloo's reward; with clipping left out (`clip` 10): each is off by 1e-3 and more.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from enumerable import settings, unit
from torch import Tensor
from workshop import TINY, Shop

from tunelang.plan.ir import Weights
from tunelang.train import optimise, trainable
from tunelang.train.evaluate import Lens
from tunelang.train.experience import Algorithm, Learner, learn, rollout
from tunelang.train.grpo import Grpo
from tunelang.train.policy_stats import Stats
from tunelang.train.rloo import Rloo
from tunelang.train.roles import Cast, Role
from tunelang.train.rollout import Episode

trl = pytest.importorskip("trl")
datasets = pytest.importorskip("datasets")
from transformers import TrainerCallback  # noqa: E402 - where there is no trl there is no need

GROUP, LONGEST, LR, BETA = 4, 9, 0.3, 0.1
LENS = Lens("fp32", "cpu", 0)
CHANCE = random.Random(0)
PROMPTS = [[CHANCE.randrange(5, 300) for _ in range(size)] for size in (3, 7, 5, 4)]
REPLIES = [
    [[CHANCE.randrange(5, 300) for _ in range(CHANCE.randint(2, LONGEST))] for _ in range(GROUP)]
    for _ in PROMPTS
]
SCORES = [[CHANCE.gauss(0, 1) for _ in range(GROUP)] for _ in PROMPTS]
UPDATES = 4  # two rollouts of two prompts, each learnt from twice


def relative(ours: Sequence[Tensor], theirs: Sequence[Tensor]) -> float:
    """|a - b| / |b| over all tensors together."""
    off = sum(float((a - b).double().square().sum()) for a, b in zip(ours, theirs, strict=True))
    return (off / sum(float(b.double().square().sum()) for b in theirs)) ** 0.5


class Recorder(TrainerCallback):
    """The gradients of every update of TRL's."""

    def __init__(self) -> None:
        self.gradients: list[list[Tensor]] = []

    def on_pre_optimizer_step(self, *_: Any, model: Any = None, **__: Any) -> None:
        self.gradients.append([w.grad.clone() for w in model.parameters() if w.requires_grad])


def theirs(shop: Shop, kind: str, where: Path, **more: Any) -> tuple[list[float], Recorder]:
    """Losses and gradients of TRL's trainer; the reference is a model that it loads itself."""
    start = shop.load()
    start.model.requires_grad_(True)
    config = {"GRPO": trl.GRPOConfig, "RLOO": trl.RLOOConfig}[kind]
    trainer_of = {"GRPO": trl.GRPOTrainer, "RLOO": trl.RLOOTrainer}[kind]

    class Fixed(trainer_of):  # type: ignore[misc,valid-type]
        """Replies from the table above instead of generated ones."""

        def _tokenize_prompts(self, prompts: list[str]) -> Any:
            self.asked = [int(prompt) for prompt in prompts]
            return [PROMPTS[at] for at in self.asked], None, {}

        def _generate_single_turn(self, *_: Any, **__: Any) -> Any:
            drawn = [REPLIES[at][place % GROUP] for place, at in enumerate(self.asked)]
            return (drawn, None) if kind == "GRPO" else drawn

        def training_step(self, *given: Any, **more: Any) -> Tensor:
            loss: Tensor = super().training_step(*given, **more)
            losses.append(float(loss))
            return loss

    losses: list[float] = []
    recorder = Recorder()
    trainer = Fixed(
        model=start.model,
        reward_funcs=lambda prompts, completion_ids, **_: [
            SCORES[int(prompt)][REPLIES[int(prompt)].index(list(reply))]
            for prompt, reply in zip(prompts, completion_ids, strict=True)
        ],
        args=config(
            output_dir=str(where),
            per_device_train_batch_size=2 * GROUP,
            num_generations=GROUP,
            num_iterations=2,
            max_steps=UPDATES,
            max_completion_length=LONGEST,
            beta=BETA,
            epsilon=0.2,
            temperature=1.0,
            learning_rate=LR,
            lr_scheduler_type="constant",
            optim="sgd",
            max_grad_norm=1e9,
            shuffle_dataset=False,
            bf16=False,
            use_cpu=True,
            gradient_checkpointing=False,
            report_to=[],
            save_strategy="no",
            disable_tqdm=True,
            **more,
        ),
        train_dataset=datasets.Dataset.from_list([{"prompt": str(at)} for at in range(4)]),
        processing_class=start.tokenizer,
        callbacks=[recorder],
    )
    trainer.train()
    return losses, recorder


def ours(
    shop: Shop, algorithm: Algorithm, monkeypatch: pytest.MonkeyPatch
) -> tuple[list[float], list[list[Tensor]]]:
    """Losses and gradients of our code on the same replies."""
    start = shop.load()
    trained = trainable.make_trainable(start, Weights(kind="full", fields={}))
    reference = Role(shop.load(TINY).model, None)
    who = Cast(Role(trained.model, None), reference, None, None, trained, LENS)
    weights = [w for w in trained.model.parameters() if w.requires_grad]
    gradients: list[list[Tensor]] = []
    losses: list[float] = []
    plain = optimise.update
    add = Stats.add

    def seen(engine: Any, name: str, most: float) -> None:
        gradients.append([w.grad.clone() for w in weights if w.grad is not None])
        plain(engine, name, most)

    def noted(stats: Stats, found: dict[str, float]) -> None:
        losses.append(found["policy_loss"])
        add(stats, found)

    monkeypatch.setattr(optimise, "update", seen)
    monkeypatch.setattr(Stats, "add", noted)
    who.policy.engine.adopt([unit("policy", torch.optim.SGD(weights, lr=LR))])
    learner = Learner(algorithm, torch.Generator())
    for first in (0, 2):
        rows = [
            Episode(PROMPTS[at], reply, False) for at in (first, first + 1) for reply in REPLIES[at]
        ]
        scores = torch.tensor([*SCORES[first], *SCORES[first + 1]])
        found = rollout(who, rows, scores, BETA, algorithm.settings)
        learn(who, algorithm.experience(who, found), learner)
    return losses, gradients


def same(mine: tuple[list[float], list[list[Tensor]]], other: tuple[list[float], Recorder]) -> None:
    """Every update's loss and gradient to a relative 1e-5."""
    assert len(mine[0]) == len(other[0]) == len(mine[1]) == len(other[1].gradients) == UPDATES
    # A loss is a difference of terms of about 1, and may be 0: it is compared with those.
    assert max(abs(a - b) for a, b in zip(mine[0], other[0], strict=True)) < 1e-5
    for gradient, reference in zip(mine[1], other[1].gradients, strict=True):
        assert relative(gradient, reference) < 1e-5
    assert relative(mine[1][1], mine[1][0]) > 1e-3  # the second pass is another one


SETTINGS = settings(epochs=2, minibatches=1, micro=2 * GROUP, max_grad_norm=1e9)
GRPOS = [
    ("replies", "grpo", "group"),
    ("tokens", "dapo", "batch"),
    ("length", "dr_grpo", "none"),
]


@pytest.mark.parametrize(("average", "loss_type", "scale"), GRPOS)
def test_grpo_is_trls(
    shop: Shop,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    average: str,
    loss_type: str,
    scale: str,
) -> None:
    """The paper's loss, DAPO's and Dr. GRPO's, each with another scale of advantages."""
    other = theirs(
        shop,
        "GRPO",
        tmp_path,
        loss_type=loss_type,
        scale_rewards=scale,
        epsilon_high=0.28,
        use_bias_correction_kl=False,
    )
    algorithm = Grpo(SETTINGS, GROUP, scale, average, (0.2, 0.28), LONGEST)
    same(ours(shop, algorithm, monkeypatch), other)


def test_rloo_is_trls(shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """KL in the reward, the leave-one-out baseline, the clipped ratio of whole replies."""
    other = theirs(shop, "RLOO", tmp_path)
    same(ours(shop, Rloo(SETTINGS, GROUP, 0.2), monkeypatch), other)
