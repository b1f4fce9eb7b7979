"""Packed rows are computed as if each were alone."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from workshop import Shop, part, texts, training

from tunelang.errors import UserError
from tunelang.train import evaluate, forward, packing
from tunelang.train.evaluate import Lens
from tunelang.train.forward import Row
from tunelang.train.losses import IGNORED

ROWS = [Row(list(range(5, 5 + size)), list(range(5, 5 + size))) for size in (7, 12, 5, 9)]


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_packed_equals_padded(shop: Shop, attention: str) -> None:
    """P03: the same loss to 1e-6, with rows packed, padded and packed again.

    Seen to fail when `packing.join` numbered positions through the whole sequence.
    """
    model = shop.load().model
    model.set_attn_implementation(attention)
    lens = Lens("fp32", "cpu", 0)
    alone = evaluate.measure(model, ROWS, lens)["loss"]
    packed = packing.pack(ROWS, 24)
    assert len(packed) == 2
    assert evaluate.measure(model, packed, lens)["loss"] == pytest.approx(alone, abs=1e-6)


def test_an_attention_mask_would_leak(shop: Shop) -> None:
    """The trap we stay out of: with an all-ones mask packed rows see each other."""
    model = shop.load().model
    batch = forward.collate(packing.pack(ROWS, 64), 0, "cpu")
    apart = forward.hidden_states(model, batch.ids, batch.positions)
    leaking = model.model(
        input_ids=batch.ids,
        position_ids=batch.positions,
        attention_mask=torch.ones_like(batch.ids),
        use_cache=False,
    ).last_hidden_state
    assert float((apart - leaking).abs().max()) > 1e-2


def test_a_cache_would_leak(shop: Shop) -> None:
    """The same trap by another door: `use_cache=True`, the default, lets rows see each other."""
    model = shop.load().model
    batch = forward.collate(packing.pack(ROWS, 64), 0, "cpu")
    states = [
        model.model(
            input_ids=batch.ids, position_ids=batch.positions, use_cache=cache
        ).last_hidden_state
        for cache in (False, True)
    ]
    assert torch.equal(states[0], forward.hidden_states(model, batch.ids, batch.positions))
    assert float((states[0] - states[1]).abs().max()) > 1e-2


def test_a_run_whose_packed_rows_leak_is_stopped(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """L03: the self-check compares packed rows with the same rows alone before training.

    Seen to fail when `packing.check` was not called: the leaking run went through.
    """
    data = part("text", texts())
    shop.run(training("domain_adaptation", "apart", data, fields={"packing": True}))
    check = next(e for e in shop.events("apart") if e.get("name") == "packed-rows-apart")
    assert check["ok"] and check["value"] < 1e-6

    def leaking(model: Any, ids: torch.Tensor, positions: torch.Tensor | None = None) -> Any:
        decoder = forward.causal(model).get_decoder()
        ones = torch.ones_like(ids)
        return decoder(
            input_ids=ids, position_ids=positions, attention_mask=ones, use_cache=False
        ).last_hidden_state

    monkeypatch.setattr(forward, "hidden_states", leaking)
    with pytest.raises(UserError) as told:
        shop.run(training("domain_adaptation", "leaking", data, fields={"packing": True}))
    assert "packed-rows-apart" in told.value.diagnostic.message


def test_padding_of_packed_rows_is_a_row_of_its_own() -> None:
    """Position ids start again at 0 in the padding, so that nothing attends across it."""
    rows = packing.pack(ROWS, 19)
    batch = forward.collate(rows, 0, "cpu")
    shorter = min(range(len(rows)), key=lambda at: len(rows[at].ids))
    assert batch.positions is not None
    assert int(batch.positions[shorter, len(rows[shorter].ids)]) == 0
    assert int(batch.labels[shorter, -1]) == IGNORED


def test_packing_keeps_every_token_and_no_bin_overflows() -> None:
    """Every row is in exactly one bin; first labels carry no loss; a full bin is full."""
    rows = [Row([1] * size, [1] * size) for size in (3, 9, 4, 6, 2, 8, 10, 1)]
    filled = packing.bins(rows, 10)
    assert sorted(index for bin in filled for index in bin) == list(range(len(rows)))
    sizes = [sum(len(rows[index].ids) for index in bin) for bin in filled]
    assert max(sizes) <= 10
    assert len(filled) == 5  # 43 tokens: no fewer bins of 10 hold them
    joined = packing.join(rows[:2])
    assert [place for place, label in enumerate(joined.labels) if label == IGNORED] == [0, 3]
    assert joined.supervised == rows[0].supervised + rows[1].supervised


def test_long_texts_are_split_and_said(shop: Shop) -> None:
    """Domain adaptation loses no token of a long text, and says that it split it."""
    step = training(
        "domain_adaptation", "split", part("text", texts()), length=16, fields={"packing": True}
    )
    shop.run(step)
    assert any("are split; nothing is lost" in note for note in shop.said("split", "note"))
