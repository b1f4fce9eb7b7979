"""The reward model learns separable preferences, scores alike wherever it is asked, and is kept.

Seen to fail: the sign of the gap turned in the loss (accuracy 0.0); the head saved in bf16 (scores
off by 0.002); the score read at the first token (the self-check of gradients); the head left out of
what trains (it stays at its start).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from workshop import LORA, Shop, part, preferences, schedule, training

from tunelang.plan.ir import HoldOut, Weights
from tunelang.sources import rows as sources
from tunelang.train import judge, losses, reward, trainable
from tunelang.train.evaluate import Lens
from tunelang.train.judge import Judge
from tunelang.train.reward_lists import Comparison
from tunelang.train.scoring import scores, scores_of

LENS = Lens("fp32", "cpu", 0)
ROWS = [[5, 6, 7], [9, 8, 7, 6, 5, 4, 3], [12] * 20, [7]]


@pytest.mark.parametrize("weights", ["lora", "full"])
def test_separable_preferences_are_learnt(shop: Shop, weights: str) -> None:
    """At least 95% of held-out pairs in 60 updates, from chance."""
    data = part("preference", preferences(), hold_out=HoldOut(rows=60))
    step = training(
        "reward_modeling",
        "judge",
        data,
        weights=weights,
        lr=5e-3 if weights == "lora" else 2e-3,
        schedule=schedule(60),
        fields={"center": 0.01},
    )
    metrics = shop.run(step)
    assert metrics["before"]["loss"] == pytest.approx(math.log(2), abs=0.05)
    assert metrics["after"]["accuracy"] >= 0.95
    assert metrics["after"]["margin"] > 0


def test_what_is_saved_scores_as_what_was_trained(shop: Shop) -> None:
    """Loaded twice: the same bits. As an adapter on the causal base: the same scores to 1e-5.

    The mean score of preferred training replies is 0.
    """
    data = part("preference", preferences(36))
    shop.run(training("reward_modeling", "judge", data))
    first, second = shop.load("judge"), shop.load("judge")
    assert first.head is not None and second.head is not None
    ours = scores_of(first.model, first.head, ROWS, LENS)
    assert torch.equal(ours, scores_of(second.model, second.head, ROWS, LENS))
    folder = shop.store.object("judge") / "adapter"
    policy = trainable.make_trainable(shop.load(), Weights(kind="lora", fields=LORA), "policy")
    trainable.load_adapter(policy.model, folder, "reward")
    with trainable.using(policy.model, ["reward"]):
        shared = scores_of(policy.model, first.head, ROWS, LENS)
    assert float((ours - shared).abs().max()) < 1e-5
    assert all(".policy." in name for name in trainable.parameters(policy))
    tokenizer = first.tokenizer
    chosen = [
        tokenizer.apply_chat_template(
            [
                {"role": "user", "content": row.values["prompt"]},
                {"role": "assistant", "content": row.values["chosen"]},
            ],
            return_dict=False,
        )
        for row in sources.split(sources.read(data), data).train
    ]
    scored = scores_of(first.model, first.head, chosen, LENS) + first.bias
    assert abs(float(scored.mean())) < 1e-4


@pytest.mark.parametrize("weights", ["lora", "full"])
def test_saved_scores_are_the_trained_ones_to_the_bit(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, weights: str
) -> None:
    """P09: head and body as they were when training ended; an adapter on a fresh base."""
    seen: list[torch.Tensor] = []
    calibrated = judge.calibrated

    def watching(made: Judge, lists: Sequence[Comparison]) -> dict[str, Any]:
        seen.append(scores_of(made.trained.model, made.weight, ROWS, LENS))
        return calibrated(made, lists)

    monkeypatch.setattr(reward, "calibrated", watching)
    fields = {"center": 0.01, "normalize": "mean_and_variance"}
    data = part("preference", preferences(36))
    shop.run(training("reward_modeling", "kept", data, weights=weights, fields=fields))
    kept = shop.load("kept")
    assert kept.head is not None
    if weights == "full":
        assert torch.equal(scores_of(kept.model, kept.head, ROWS, LENS), seen[0])
        return
    base = trainable.make_trainable(shop.load(), Weights(kind="lora", fields=LORA), "other")
    trainable.load_adapter(base.model, shop.store.object("kept") / "adapter", "judge")
    with trainable.using(base.model, ["judge"]):
        assert torch.equal(scores_of(base.model, kept.head, ROWS, LENS), seen[0])


@pytest.mark.parametrize("weights", ["lora", "full"])
def test_the_head_trains_whatever_the_weights(shop: Shop, weights: str) -> None:
    """L12 and L13: an adapter does not leave the head at its random start; it is kept in fp32."""
    data = part("preference", preferences(36))
    step = training("reward_modeling", "moved", data, weights=weights)
    start = reward.build(step, shop.job(step), shop.load()).head.weight.detach()
    shop.run(step)
    kept = shop.load("moved").head
    assert kept is not None and kept.dtype == torch.float32
    assert float((kept - start).abs().min()) > 0


def test_scores_do_not_depend_on_padding(shop: Shop) -> None:
    """A row scores the same alone and beside longer rows."""
    model = shop.load().model
    head = torch.randn(1, 64, generator=torch.Generator().manual_seed(0))
    together = scores(model, head, ROWS, LENS)
    alone = torch.cat([scores(model, head, [row], LENS) for row in ROWS])
    assert torch.allclose(together, alone, atol=1e-5)


def test_identities_of_the_pair_loss() -> None:
    """Equal scores cost ln 2; a constant costs nothing without centering; a margin asks more."""
    won, lost = torch.tensor([1.0, 2.0, 0.5]), torch.tensor([0.5, 2.5, 0.5])
    loss = losses.bradley_terry_sum(won, lost)
    assert float(losses.bradley_terry_sum(won, won)) == pytest.approx(3 * math.log(2))
    assert float(losses.bradley_terry_sum(won + 7, lost + 7)) == pytest.approx(float(loss))
    assert float(losses.bradley_terry_sum(won, lost, torch.ones(3))) > float(loss)
    centered = losses.bradley_terry_sum(won, lost, None, 0.01)
    assert float(centered - loss) == pytest.approx(0.01 * float(((won + lost) ** 2).sum()))


def test_pairs_are_filtered_aloud_never_cut(shop: Shop) -> None:
    """A pair with a side over length and a pair of equal replies are left out and counted."""
    rows = preferences(40)
    rows[20]["chosen"] = " sun" * 200
    rows[21]["rejected"] = rows[21]["chosen"]
    shop.run(training("reward_modeling", "filtered", part("preference", rows)))
    notes = " ".join(shop.said("filtered", "note"))
    assert "1 of 40 pairs are left out: a side is longer" in notes
    assert "1 of 40 pairs are left out: both replies are the same" in notes


def test_margins_come_from_the_rows(shop: Shop) -> None:
    """margin = true reads the column, and changes what is learnt."""
    rows = [{**row, "margin": 2.0} for row in preferences(40)]
    found = []
    for key, margin in (("with", True), ("without", False)):
        step = training("reward_modeling", key, part("preference", rows), fields={"margin": margin})
        shop.run(step)
        found.append(shop.weights(key)["head.safetensors"])
    assert found[0] != found[1]
