"""Full tuning: what a step is added to, and weights that two layers share."""

from __future__ import annotations

import torch
from workshop import Shop, instructions, part, schedule, training

from tunelang.plan.ir import Weights
from tunelang.train import optimise, trainable


def test_masters_are_fp32_and_may_be_done_without(shop: Shop) -> None:
    """With masters, weights and AdamW's states are fp32 under bf16 computation; else bf16.

    Seen to fail with `storage` always fp32, and with it always the precision.
    """
    for masters, dtype in (("fp32", torch.float32), ("none", torch.bfloat16)):
        weights = Weights(kind="full", fields={"masters": masters})
        step = training("sft", "m", part("instruct", instructions()), weights="full")
        step = step.model_copy(update={"precision": "bf16", "weights": weights})
        loaded = shop.load(precision=trainable.storage(step))
        found = trainable.parameters(trainable.make_trainable(loaded, weights))
        assert {value.dtype for value in found.values()} == {dtype}
        moves = optimise.optimizer(step, found)
        for value in found.values():
            value.grad = torch.ones_like(value)
        moves.step()
        states = [state["exp_avg"].dtype for state in moves.state.values()]
        assert set(states) == {dtype}
        metrics = shop.run(step)
        assert metrics["after"]["loss"] < metrics["before"]["loss"]
        shop.forget("m")


def test_small_steps_are_lost_without_masters(shop: Shop) -> None:
    """At lr 1e-6 nearly no bf16 weight moves, and nearly every fp32 one does: why TL617 warns.

    A bf16 weight has 8 bits: a step under 1/256 of it is rounded away.
    """
    moved = {}
    for masters in ("fp32", "none"):
        weights = Weights(kind="full", fields={"masters": masters})
        step = training("sft", "s", part("instruct", instructions()), weights="full", lr=1e-6)
        step = step.model_copy(
            update={"precision": "bf16", "weights": weights, "schedule": schedule(3, warmup=0)}
        )
        loaded = shop.load(precision=trainable.storage(step))
        found = trainable.parameters(trainable.make_trainable(loaded, weights))
        before = {name: value.detach().clone() for name, value in found.items()}
        moves = optimise.optimizer(step, found)
        for value in found.values():
            value.grad = torch.randn_like(value)
        moves.step()
        same = sum(int((found[name] == was).sum()) for name, was in before.items())
        moved[masters] = 1 - same / sum(was.numel() for was in before.values())
    assert moved["fp32"] > 0.9
    assert moved["none"] < 0.1


def test_a_shared_matrix_trains_and_counts_once(shop: Shop) -> None:
    """The output layer is the embedding: one parameter, one optimizer state, one count."""
    model = shop.load().model
    model.requires_grad_(True)
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight
    trained = trainable.make_trainable(shop.load(), Weights(kind="full", fields={}))
    named = trainable.parameters(trained)
    assert not [name for name in named if "lm_head" in name]
    step = training("sft", "t", part("instruct", instructions()), weights="full")
    groups = optimise.optimizer(step, named).param_groups
    held = sum(value.numel() for group in groups for value in group["params"])
    assert held == sum(value.numel() for value in model.parameters())
