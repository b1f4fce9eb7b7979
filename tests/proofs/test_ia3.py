"""(IA)^3: what it computes, what it leaves alone, and that it is kept.

Seen to fail, each in the test that states the fact: PEFT's own table for the layers (queries in
place of keys), vectors that begin at 0.9, a feed-forward vector at the output of its layer, a base
that trains too.
"""

from __future__ import annotations

import pytest
import torch
from few import IA3, labelled, moods, tuned_step
from workshop import LORA, Shop, instructions, part, schedule, training

from tunelang.errors import UserError
from tunelang.plan.ir import Weights
from tunelang.train import trainable

IDS = torch.tensor([[5, 9, 17, 33, 60, 2, 8]])
WEIGHTS = Weights(kind="ia3", fields=IA3)


def logits(model: torch.nn.Module) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model(IDS, use_cache=False).logits
    return found


def test_it_begins_as_the_model_it_starts_from(shop: Shop) -> None:
    """All vectors are 1: the same logits to the bit, and nothing but vectors trains."""
    before = logits(shop.load().model)
    trained = trainable.make_trainable(shop.load(), WEIGHTS)
    assert torch.equal(logits(trained.model), before)
    shapes = {
        name.split(".layers.")[1]: tuple(value.shape)
        for name, value in trainable.parameters(trained).items()
    }
    expected = {}
    for layer in (0, 1):
        expected[f"{layer}.self_attn.k_proj.ia3_l.default"] = (32, 1)  # 2 heads of 16
        expected[f"{layer}.self_attn.v_proj.ia3_l.default"] = (32, 1)
        expected[f"{layer}.mlp.down_proj.ia3_l.default"] = (1, 128)
    assert shapes == expected


def test_keys_values_and_hidden_units_are_scaled(shop: Shop) -> None:
    """Random vectors, against weights that are scaled by hand: rows of K and V, columns of W_ff."""
    torch.manual_seed(1)
    trained = trainable.make_trainable(shop.load(), WEIGHTS)
    by_hand = shop.load().model
    layers = dict(by_hand.named_modules())
    for name, value in trainable.parameters(trained).items():
        vector = 1 + 0.5 * torch.randn(value.shape)
        value.data = vector
        path = name.removeprefix("base_model.model.").removesuffix(".ia3_l.default")
        layers[path].weight.data = layers[path].weight.data * vector
    live = logits(trained.model)
    assert torch.allclose(live, logits(by_hand), atol=1e-5)
    assert not torch.allclose(live, logits(shop.load().model), atol=1e-2)


def test_what_is_kept_is_what_was_trained(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Loaded twice: the same bits. Merged when loaded: the live logits to 1e-5. Little is saved."""
    live = {}
    save = trainable.save_adapter

    def watching(model: torch.nn.Module, *rest: object) -> None:
        live["logits"] = logits(model)
        save(model, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr("tunelang.train.product.save_adapter", watching)
    shop.run(tuned_step("kept", labelled(moods(12), 8), weights="ia3", adapter=IA3, lr=3e-2))
    first, second = (shop.load("kept").model for _ in range(2))
    assert torch.equal(logits(first), logits(second))
    assert torch.allclose(logits(first), live["logits"], atol=1e-5)
    assert not torch.allclose(logits(first), logits(shop.load().model), atol=1e-3)
    assert list(shop.weights("kept")) == ["adapter/adapter_model.safetensors"]


def test_stages_follow_one_another(shop: Shop) -> None:
    """LoRA over IA3 over the base: each starts from what the one before left."""
    data = part("instruct", instructions())
    shop.run(tuned_step("first", labelled(moods(12), 8), weights="ia3", adapter=IA3, lr=3e-2))
    plan = schedule(3)
    shop.run(training("sft", "second", data, model="first", schedule=plan, adapter=LORA))
    assert shop.store.product("second")["deltas"] == ["first", "second"]
    assert not torch.equal(logits(shop.load("second").model), logits(shop.load("first").model))


def test_layers_that_are_not_there(shop: Shop) -> None:
    """A name that no layer has is told with those there are."""
    wanted = Weights(kind="ia3", fields={"targets": ["keys"], "feedforward": None})
    with pytest.raises(UserError) as told:
        trainable.make_trainable(shop.load(), wanted)
    assert told.value.diagnostic.code == "TL518"
    assert "k_proj" in (told.value.diagnostic.help or "")


def test_layers_that_are_named(shop: Shop) -> None:
    """Only what the recipe names is scaled."""
    wanted = Weights(kind="ia3", fields={"targets": ["v_proj"], "feedforward": None})
    trained = trainable.make_trainable(shop.load(), wanted)
    assert all(".v_proj." in name for name in trainable.parameters(trained))


def test_weights_in_few_bits_are_refused(shop: Shop) -> None:
    """Vectors that are merged later would be rounded away: TL412."""
    pytest.importorskip("bitsandbytes")
    with pytest.raises(UserError) as told:
        trainable.make_trainable(shop.load(quant="nf4"), WEIGHTS)
    assert told.value.diagnostic.code == "TL412"


def test_scaling_vectors_teach_a_model_that_has_read(shop: Shop) -> None:
    """After 40 updates on texts that name their mood, IA3 alone goes from chance to 90%.

    Another 24 rows are held out; 384 numbers train, of 100,000.
    """
    texts = [{"text": f"{row['text']} is {row['label']}"} for row in moods(60, seed=9)]
    plan = schedule(40)
    reading = part("text", texts)
    shop.run(training("domain_adaptation", "read", reading, weights="full", lr=2e-3, schedule=plan))
    step = tuned_step(
        "told",
        labelled(moods(32), 24),
        model="read",
        weights="ia3",
        adapter=IA3,
        lr=5e-2,
        schedule=schedule(40, kind="linear", floor=0.0),
    )
    metrics = shop.run(step)
    assert metrics["before"]["accuracy"] <= 0.6
    assert metrics["after"]["accuracy"] >= 0.9
