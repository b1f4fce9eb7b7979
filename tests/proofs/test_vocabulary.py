"""New tokens start as the average of their pieces, train, and travel with the product."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from workshop import TINY, Shop, collect, part, schedule, training

from tunelang.errors import UserError
from tunelang.train import vocabulary
from tunelang.train.job import Job

NEW = ["<dose>", "</dose>"]
# All linear layers, and the two that hold a row for each token.
TARGETS = [
    *("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"),
    *("embed_tokens", "lm_head"),
]


def doses(count: int = 40) -> list[dict[str, Any]]:
    return [
        {"prompt": f"the dose of dog {n}", "reply": f" <dose> {n} red </dose>"}
        for n in range(count)
    ]


def step_of(key: str, weights: str, **more: Any) -> Any:
    """A stage that adds the tokens and learns replies that hold them."""
    fields = {"new_tokens": NEW, **more.pop("fields", {})}
    if weights == "lora":
        more["adapter"] = {"targets": TARGETS}
    data = part("instruct", doses())
    return training("sft", key, data, weights=weights, fields=fields, lr=1e-2, **more)


def untie(model: Any) -> None:
    """A head of its own."""
    model.config.tie_word_embeddings = False
    model.lm_head.weight = nn.Parameter(model.lm_head.weight.detach() * 1.1)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("spare", [True, False])
def test_the_logits_of_old_tokens_stay_bit_for_bit(shop: Shop, tied: bool, spare: bool) -> None:
    """Whether the embedding has rows to spare or grows; a new row is the mean of its pieces' rows.

    Seen to fail when the rows were left as `resize_token_embeddings` makes them, and (untied) when
    the head's new rows were.
    """
    start = shop.load()
    if not tied:
        untie(start.model)
    known = len(start.tokenizer)
    if not spare:
        start.model.resize_token_embeddings(known)
    ids = torch.arange(5, 60)[None]
    pieces = start.tokenizer(NEW[0], add_special_tokens=False)["input_ids"]
    before = start.model(input_ids=ids).logits[..., :known]
    _, emit = collect()
    added = vocabulary.extend(start, NEW, Job(shop.home, shop.home, shop.store, emit))
    after = start.model(input_ids=ids).logits
    assert added == (known, known + 1)
    assert torch.equal(after[..., :known], before)
    assert start.tokenizer(NEW[0], add_special_tokens=False)["input_ids"] == [known]
    for layer in (start.model.model.embed_tokens, start.model.lm_head):
        assert torch.equal(layer.weight[known], layer.weight[pieces].mean(0))
    assert (start.model.lm_head.weight is start.model.model.embed_tokens.weight) == tied
    assert start.model.lm_head.weight.shape[0] == (384 if spare else known + 2)


@pytest.mark.parametrize("weights", ["full", "lora"])
def test_new_rows_train_and_come_back_equal(shop: Shop, weights: str) -> None:
    """The product's rows have moved; with LoRA the old rows have not, bit for bit; what is loaded
    again measures as what was trained; the tokenizer travels, and a later stage knows the tokens.

    Seen to fail when `new_rows` was not given to PEFT (LoRA: the rows stayed).
    """
    first = vocabulary_start(shop)
    metrics = shop.run(step_of("grown", weights))
    loaded = shop.load("grown")
    known = len(loaded.tokenizer) - 2
    rows = loaded.model.get_input_embeddings().weight
    assert loaded.tokenizer.convert_tokens_to_ids(NEW) == [known, known + 1]
    assert float((rows[known : known + 2] - first[known : known + 2]).abs().min()) > 0
    assert torch.equal(rows[:known], first[:known]) == (weights == "lora")
    assert loaded.model.lm_head.weight is loaded.model.model.embed_tokens.weight
    again = shop.run(
        training("sft", "again", part("instruct", doses()), model="grown", schedule=schedule(1))
    )
    assert again["before"]["loss"] == pytest.approx(metrics["after"]["loss"], abs=1e-6)
    assert len(shop.load("again").tokenizer) == known + 2


def vocabulary_start(shop: Shop) -> torch.Tensor:
    """The embedding with the new rows as they start."""
    start = shop.load()
    _, emit = collect()
    vocabulary.extend(start, NEW, Job(shop.home, shop.home, shop.store, emit))
    held: torch.Tensor = start.model.get_input_embeddings().weight.detach().clone()
    return held


def test_what_the_adapter_holds_of_the_embedding_is_the_new_rows(shop: Shop) -> None:
    """Two rows of 64 numbers, and low-rank matrices for linear layers only.

    Seen to fail when the targets kept `embed_tokens`: PEFT refuses both at once.
    """
    from safetensors.torch import load_file

    shop.run(step_of("rows", "lora"))
    held = load_file(shop.store.object("rows") / "adapter" / "adapter_model.safetensors")
    tokens = {name: value.shape for name, value in held.items() if "lora" not in name}
    assert list(tokens.values()) == [(2, 64)]
    assert not any("embed_tokens.lora" in name or "lm_head.lora" in name for name in held)


def test_marks_may_be_named(shop: Shop) -> None:
    """`eos` ends replies and is saved with tokenizer and model; `pad` pads; an unknown one fails.

    Seen to fail when only the tokenizer was told.
    """
    fields = {"eos": "</dose>", "pad": "<s>"}
    shop.run(step_of("marked", "full", fields=fields))
    loaded = shop.load("marked")
    assert loaded.tokenizer.eos_token == "</dose>" and loaded.tokenizer.pad_token == "<s>"
    assert loaded.model.config.eos_token_id == loaded.tokenizer.eos_token_id
    assert any("replies end with </dose>" in note for note in shop.said("marked", "note"))
    with pytest.raises(UserError) as told:
        shop.run(step_of("unknown", "full", fields={"eos": "<never>"}))
    assert told.value.diagnostic.code == "TL410"


def test_tokens_that_are_there_are_not_added_again(shop: Shop) -> None:
    """A second stage that names them adds none, and says so."""
    start = shop.load(TINY)
    events, emit = collect()
    job = Job(shop.home, shop.home, shop.store, emit)
    assert len(vocabulary.extend(start, [*NEW, NEW[0]], job)) == 2
    assert vocabulary.extend(start, NEW, job) == ()
    assert "already" in events[-1]["text"]


def test_rows_of_an_adapter_carry_over_to_quantised_stages(shop: Shop) -> None:
    """LoRA with new tokens, then two QLoRA stages: each starts as the one before ended.

    Seen to fail when the rows stayed in their adapter: PEFT saved none beside it.
    """
    pytest.importorskip("bitsandbytes")
    shop.run(step_of("grown", "lora"))
    data, plan = part("instruct", doses()), schedule(2)
    first = training("sft", "first", data, model="grown", weights="qlora", schedule=plan)
    second = training("sft", "second", data, model="first", weights="qlora", schedule=plan)
    ended = shop.run(first)["after"]["loss"]
    assert shop.run(second)["before"]["loss"] == pytest.approx(ended, abs=1e-6)
    known = len(shop.load("second").tokenizer) - 2
    kept = shop.load("grown").model.get_input_embeddings().weight[known : known + 2]
    held = shop.load("second").model.get_input_embeddings().weight[known : known + 2]
    assert torch.equal(held, kept)
