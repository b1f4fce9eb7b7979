"""Packed rows are computed as if each were alone."""

from __future__ import annotations

import pytest
import torch
from workshop import Shop, part, texts, training

from tunelang.train import evaluate, forward, packing
from tunelang.train.evaluate import Lens
from tunelang.train.forward import Row
from tunelang.train.losses import IGNORED

ROWS = [Row(list(range(5, 5 + size)), list(range(5, 5 + size))) for size in (7, 12, 5, 9)]


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_packed_equals_padded(shop: Shop, attention: str) -> None:
    """The same loss to 1e-6, with rows packed, padded and packed again."""
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
