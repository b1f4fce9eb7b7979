"""QLoRA trains as LoRA on the dequantised base does, before and after an evaluation."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from workshop import LORA, Shop, instructions, part, schedule, texts, training

from tunelang.errors import UserError
from tunelang.plan.ir import HoldOut, Weights
from tunelang.train import forward, losses, quantise, trainable
from tunelang.train.forward import Row

pytest.importorskip("bitsandbytes")

ROWS = [Row(list(range(5, 29)), list(range(5, 29))), Row(list(range(40, 52)), list(range(40, 52)))]


def gradients(made: trainable.Trained) -> dict[str, torch.Tensor]:
    made.model.zero_grad()
    logits, targets = forward.supervised_logits(made.model, forward.collate(ROWS, 0, "cpu"))
    loss = losses.cross_entropy_sum(logits, targets)
    loss.backward()  # type: ignore[no-untyped-call]
    return {name: value.grad.clone() for name, value in trainable.parameters(made).items()}


def distance(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> float:
    """|ours - theirs| / |theirs| over all gradients."""
    apart = sum(float((ours[name] - theirs[name]).square().sum()) for name in theirs)
    return float((apart / sum(float(value.square().sum()) for value in theirs.values())) ** 0.5)


def made(start: Any) -> trainable.Trained:
    torch.manual_seed(0)
    ready = trainable.make_trainable(start, Weights(kind="lora", fields=LORA))
    for parameter in trainable.adapter_parameters(ready.model, "default"):
        parameter.data = torch.randn(parameter.shape) * 0.05
    return ready


@pytest.mark.parametrize("held", ["nf4", "nf4-single", "fp4"])
def test_gradients_are_lora_on_the_dequantised_base(shop: Shop, held: str) -> None:
    """P06: relative difference under 1e-6, also after an evaluation pass on the 4-bit weights.

    bitsandbytes repacks weights in such a pass on some CPUs, after which gradients are wrong by
    0.96. Seen to fail on such a CPU with the guard in quantise.py taken away; on any other with
    the plain base loaded as fp4 where nf4 is trained (0.08 apart).
    """
    quantised = made(shop.load(quant=held))
    plain = shop.load(quant=held)
    plain.model.dequantize()
    expected = gradients(made(plain))
    assert distance(gradients(quantised), expected) < 1e-6
    quantised.model.eval()
    with torch.no_grad():
        forward.supervised_logits(quantised.model, forward.collate(ROWS, 0, "cpu"))
    quantised.model.train()
    assert distance(gradients(quantised), expected) < 1e-6


def test_a_base_in_few_bits_learns_what_a_whole_one_does(shop: Shop) -> None:
    """P05: over a base that knows the words, the held-out loss is within 2% of LoRA's, which fell.

    Seen to fail with qlora trained at three fifths of the rate: 6% apart.
    """
    first = {"schedule": schedule(60, kind="constant"), "lr": 1e-2, "weights": "full"}
    shop.run(training("domain_adaptation", "base", part("text", texts(96)), **first))
    how = {"schedule": schedule(100), "lr": 5e-3}
    data = part("instruct", instructions(160), hold_out=HoldOut(rows=48))
    whole = shop.run(training("sft", "whole", data, model="base", **how))
    assert whole["after"]["loss"] < 0.8 * whole["before"]["loss"]
    for held in ({}, {"type": "fp4"}, {"bits": 8}):
        step = training("sft", "few", data, model="base", weights="qlora", adapter=held, **how)
        few = shop.run(step)
        assert few["after"]["loss"] == pytest.approx(whole["after"]["loss"], rel=0.02)
        shop.forget("few")


def test_experts_that_would_stay_whole_are_refused() -> None:
    """TL418: transformers keeps experts in 3-D parameters, which bitsandbytes passes by."""
    from transformers import Qwen3MoeConfig, Qwen3MoeForCausalLM

    shape = {"hidden_size": 16, "moe_intermediate_size": 8, "num_hidden_layers": 1}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 8, "vocab_size": 32}
    model = Qwen3MoeForCausalLM(
        Qwen3MoeConfig(**shape, **heads, intermediate_size=16, num_experts=2, num_experts_per_tok=1)
    )
    with pytest.raises(UserError) as told:
        quantise.guard(model)
    assert told.value.diagnostic.code == "TL418"
    assert "experts" in told.value.diagnostic.message


def test_the_guard_is_on_every_quantised_layer(shop: Shop) -> None:
    """All 14 linear layers of the blocks are 4-bit, and none may be repacked."""
    import bitsandbytes

    layers = [
        layer
        for layer in shop.load(quant="nf4").model.modules()
        if isinstance(layer, bitsandbytes.nn.Linear4bit)
    ]
    assert len(layers) == 14
    assert not any(layer.support_avx512bf16_for_cpu for layer in layers)


def test_a_chain_on_four_bits_keeps_its_adapters(shop: Shop) -> None:
    """A second stage starts from base + first adapter, both frozen; off is exactly that start."""
    data = part("instruct", instructions())
    shop.run(training("sft", "first", data, weights="qlora"))
    assert shop.store.product("first")["quant"] == "nf4"
    start = shop.load("first")
    assert start.attached == ("start0",)
    batch = forward.collate(ROWS, 0, "cpu")
    expected, _targets = forward.supervised_logits(start.model, batch)
    second = made(start)
    assert all(".default." in name for name in trainable.parameters(second))
    with trainable.using(second.model, second.start):
        off, _targets = forward.supervised_logits(second.model, batch)
    on, _targets = forward.supervised_logits(second.model, batch)
    assert torch.equal(off, expected)
    assert float((on - expected).abs().max()) > 1e-3
    shop.run(training("sft", "second", data, weights="qlora", model="first"))
    assert shop.store.product("second")["deltas"] == ["first", "second"]


def test_four_bits_cannot_be_tuned_in_full(shop: Shop) -> None:
    """TL412, before anything is trained."""
    with pytest.raises(UserError) as told:
        trainable.make_trainable(shop.load(quant="nf4"), Weights(kind="full", fields={}))
    assert told.value.diagnostic.code == "TL412"
