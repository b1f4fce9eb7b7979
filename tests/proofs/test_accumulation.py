"""The loss is a sum over tokens, divided by the tokens of the whole accumulated batch."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional
from workshop import Shop, instructions, largest_difference, part, place, preferences, training

from tunelang.train import forward, losses, sft
from tunelang.train.forward import Row
from tunelang.train.losses import IGNORED


@pytest.mark.parametrize("method", ["sft", "reward_modeling"])
def test_no_split_into_micro_batches_changes_the_weights(shop: Shop, method: str) -> None:
    """8 rows at once, 4 x 2 and 1 x 8 end in the same adapter up to summation order.

    Not tighter, because Adam divides by second moments that are near 0 in the first updates; the
    gradients below agree to 1e-12.
    """
    data = part("instruct", instructions())
    if method == "reward_modeling":
        data = part("preference", preferences(60))
    found = []
    for micro in (8, 4, 1):
        step = training(method, f"{method}-{micro}", data, place=place(micro, 8 // micro))
        shop.run(step)
        path = shop.store.object(step.key) / "adapter" / "adapter_model.safetensors"
        found.append(load_file(path))
    assert largest_difference(found[0], found[1]) < 5e-5
    assert largest_difference(found[0], found[2]) < 5e-5


def test_gradients_of_every_split_agree(shop: Shop) -> None:
    """In fp64 the gradient of an update is the same for 1, 2 and 4 micro-batches."""
    model = shop.load().model.double().requires_grad_(True)
    rows = [Row(list(range(5, 5 + size)), list(range(5, 5 + size))) for size in (3, 30, 8, 17)]
    found = []
    for micro in (4, 2, 1):
        model.zero_grad()
        update = sft.update(rows, micro)
        for group in update.micros:
            logits, targets = forward.supervised_logits(model, forward.collate(group, 0, "cpu"))
            loss = functional.cross_entropy(logits, targets, reduction="sum")
            (loss / update.total).backward()
        found.append({name: value.grad.clone() for name, value in model.named_parameters()})
    assert len(sft.update(rows, 1).micros) == 4
    assert largest_difference(found[0], found[1]) < 1e-12
    assert largest_difference(found[0], found[2]) < 1e-12


def test_the_mean_of_micro_batch_means_is_another_loss(shop: Shop) -> None:
    """With unequal lengths the common mistake gives another value than the token mean."""
    model = shop.load().model
    rows = [Row([5, 6, 7], [IGNORED, 6, 7]), Row(list(range(5, 45)), list(range(5, 45)))]
    update = sft.update(rows, 1)
    sums = []
    for micro in update.micros:
        logits, targets = forward.supervised_logits(model, forward.collate(micro, 0, "cpu"))
        sums.append(float(losses.cross_entropy_sum(logits, targets)))
    ours = sum(sums) / update.total
    means = sum(one / micro[0].supervised for one, micro in zip(sums, update.micros, strict=True))
    assert update.total == 2 + 39
    assert abs(ours - means / 2) > 1e-3


def test_the_loss_is_that_of_all_logits(shop: Shop) -> None:
    """Logits at supervised positions only give the loss of transformers' own forward pass."""
    model = shop.load().model
    rows = [Row([5, 6, 7, 8], [IGNORED, IGNORED, 7, 8]), Row([9, 5], [9, 5])]
    batch = forward.collate(rows, 0, "cpu")
    logits, targets = forward.supervised_logits(model, batch)
    ours = float(losses.cross_entropy_sum(logits, targets) / len(targets))
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]])
    whole = model(input_ids=batch.ids, attention_mask=mask, labels=batch.labels)
    assert forward.has_plain_head(model)
    assert len(targets) == 3
    assert ours == pytest.approx(float(whole.loss), abs=1e-6)


def test_logits_in_pieces_give_the_same_loss_and_gradients(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seven positions at a time or all at once."""
    model = shop.load().model.double().requires_grad_(True)
    batch = forward.collate([Row(list(range(5, 35)), list(range(5, 35)))], 0, "cpu")
    found, values = [], []
    for size in (1 << 26, 7 * 384):
        monkeypatch.setattr(forward, "LOGITS", size)
        model.zero_grad()
        loss = forward.loss_sum(model, batch)
        loss.backward()
        values.append(float(loss))
        found.append({name: value.grad.clone() for name, value in model.named_parameters()})
    assert values[0] == pytest.approx(values[1], abs=1e-4)  # the loss itself is summed in fp32
    assert largest_difference(found[0], found[1]) < 1e-6


def test_a_scaled_output_layer_is_noticed(shop: Shop) -> None:
    """A model whose logits are not plainly head x hidden goes through its own forward pass."""
    model = shop.load().model
    head = model.lm_head
    model.lm_head.register_forward_hook(lambda _module, _inputs, logits: logits * 1.0)
    own = model.forward

    def scaled(*given: object, **named: object) -> object:
        made = own(*given, **named)
        made.logits = made.logits * 3
        return made

    model.forward = scaled
    batch = forward.collate([Row([5, 6, 7], [5, 6, 7])], 0, "cpu")
    logits, _targets = forward.supervised_logits(model, batch)
    hidden = forward.hidden_states(model, batch.ids)
    assert not forward.has_plain_head(model)
    assert torch.allclose(logits, 3 * head(hidden)[0, :-1], atol=1e-5)


def test_tokens_without_loss_have_no_gradient() -> None:
    """The gradient on the logits of ignored positions is exactly zero."""
    logits = torch.randn(6, 11, requires_grad=True)
    labels = torch.tensor([3, IGNORED, 5, IGNORED, 0, 1])
    keep = labels != IGNORED
    losses.cross_entropy_sum(logits[keep], labels[keep]).backward()
    assert logits.grad is not None
    assert float(logits.grad[~keep].abs().max()) == 0.0
    assert float(logits.grad[keep].abs().min(dim=1).values.max()) > 0.0


def test_log_probabilities_are_those_of_log_softmax() -> None:
    """log p from logits and targets, in any leading shape."""
    logits, targets = torch.randn(2, 5, 9), torch.randint(9, (2, 5))
    expected = functional.log_softmax(logits, -1).gather(-1, targets[..., None])[..., 0]
    assert torch.allclose(losses.log_probabilities(logits, targets), expected, atol=1e-6)
