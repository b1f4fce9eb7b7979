"""What a step reports: the loss of its held-out rows, gates on other data, samples, its product."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
import torch
from workshop import TINY, Shop, instructions, part, preferences, schedule, texts, training

from tunelang.plan.ir import Gate, Measure
from tunelang.sources import rows as sources
from tunelang.train import evaluate
from tunelang.train.evaluate import Lens
from tunelang.train.forward import Row
from tunelang.train.losses import IGNORED


def gate(text: str, metric: str, data: Any = None) -> Gate:
    return Gate(
        measure=Measure(text=text, metric=metric, data=data),
        compare="<",
        bound=1e9,
        enforce=True,
        place="recipe.tune:3",
    )


def test_loss_is_weighted_by_tokens(shop: Shop) -> None:
    """Over rows of any lengths: the mean over all supervised tokens, as one row at a time gives."""
    model = shop.load().model
    rows = [Row(list(range(5, 5 + size)), list(range(5, 5 + size))) for size in (4, 40, 9)]
    rows.append(Row([5, 6, 7, 8], [IGNORED, IGNORED, 7, 8]))
    summed, count = 0.0, 0
    for row in rows:
        with torch.no_grad():
            one = model(input_ids=torch.tensor([row.ids]), labels=torch.tensor([row.labels]))
        summed += float(one.loss) * row.supervised
        count += row.supervised
    found = evaluate.measure(model, rows, Lens("fp32", "cpu", 0))
    assert found["loss"] == pytest.approx(summed / count, abs=1e-5)
    assert found["perplexity"] == pytest.approx(math.exp(found["loss"]))


def test_token_accuracy_counts_the_likeliest_token(shop: Shop) -> None:
    """Rows of the model's own greedy continuation are predicted without a mistake."""
    model = shop.load().model
    ids = [5, 6, 7]
    for _ in range(6):
        with torch.no_grad():
            ids.append(int(model(input_ids=torch.tensor([ids])).logits[0, -1].argmax()))
    row = Row(ids, [IGNORED] * 3 + ids[3:])
    assert evaluate.measure(model, [row], Lens("fp32", "cpu", 0))["token_accuracy"] == 1.0


def test_gates_are_measured_under_their_own_words(shop: Shop) -> None:
    """On the step's metrics, and on the held-out rows of other data of another format."""
    other = part("text", texts(), name="replay")
    gates = [gate("loss", "loss"), gate("perplexity(replay.hold_out)", "perplexity", other)]
    step = training("sft", "gated", part("instruct", instructions()), gates=gates)
    metrics = shop.run(step)
    after = metrics["after"]
    assert after["perplexity(replay.hold_out)"] != after["perplexity"]
    held_out = sources.split(sources.read(other), other).held_out
    tokenizer = shop.load("gated").tokenizer
    rows = []
    for row in held_out:
        ids = tokenizer(row.values["text"], add_special_tokens=False)["input_ids"][:95]
        ids = [*ids, tokenizer.eos_token_id]
        rows.append(Row(ids, ids))
    found = evaluate.measure(shop.load("gated").model, rows, Lens("fp32", "cpu", 0))
    assert after["perplexity(replay.hold_out)"] == pytest.approx(found["perplexity"], rel=1e-3)
    assert set(metrics["before"]) == set(after)


def test_what_a_gate_asks_and_a_method_cannot_take_is_left_out(shop: Shop) -> None:
    """A reward's step has no perplexity: the gate stays unmeasured instead of guessed."""
    gates = [gate("perplexity", "perplexity"), gate("accuracy", "accuracy")]
    step = training("reward_modeling", "gated", part("preference", preferences(40)), gates=gates)
    after = shop.run(step)["after"]
    assert "perplexity" not in after
    assert after["accuracy"] == pytest.approx(after["accuracy"])


def test_held_out_rows_are_not_trained(shop: Shop) -> None:
    """With one row to learn and others held out, the trained one is known best."""
    rows = instructions(24)
    data = part("instruct", rows)
    split = sources.split(sources.read(data), data)
    held_out = {row.place for row in split.held_out}
    assert len(held_out) == 8
    assert not held_out & {row.place for row in split.train}
    shop.run(training("sft", "split", data, schedule=schedule(3, eval_every=1)))
    events = shop.events("split")
    during = [event for event in events if event["event"] == "measure"]
    assert [event["when"] for event in during] == ["before", "during", "during", "after"]


def test_a_product_is_complete_and_describes_itself(shop: Shop) -> None:
    """The files of the contract; the deltas name the step itself last; samples have both sides."""
    step = training(
        "instruction_tuning", "whole", part("instruct", instructions()), fields={"template": None}
    )
    shop.run(step)
    folder = shop.store.object("whole")
    product = json.loads((folder / "product.json").read_text())
    assert product["base"] == {"kind": "store", "key": TINY}
    assert product["deltas"] == ["whole"]
    assert product["kind"] == "lm" and product["quant"] is None and product["head"] is None
    assert product["tokenizer"] == "whole"
    samples = json.loads((folder / "samples.json").read_text())
    assert len(samples) == 3
    assert all(set(sample) == {"prompt", "before", "after"} for sample in samples)
    metrics = json.loads((folder / "metrics.json").read_text())
    assert [point["at"] for point in metrics["series"]] == [1, 2, 3, 4, 5, 6]
    assert (folder / "adapter" / "adapter_config.json").is_file()
    assert json.loads((folder / "step.json").read_text())["key"] == "whole"


def test_plain_tuning_teaches_plain_text(shop: Shop) -> None:
    """After sft on strings, prompts are plain text; after instruction tuning, the template's."""
    data = part("instruct", instructions())
    shop.run(training("sft", "plain", data))
    shop.run(training("instruction_tuning", "turns", data, fields={"template": "chatml"}))
    assert shop.load("plain").template is None
    assert shop.load("turns").template is not None
    assert shop.store.product("plain")["template_sha256"] is None


def test_full_tuning_makes_a_whole_model_in_the_steps_precision(shop: Shop) -> None:
    """fp32 masters are rounded to bf16 before they are measured and saved."""
    step = training(
        "sft", "full", part("instruct", instructions()), weights="full", precision="bf16"
    )
    metrics = shop.run(step)
    loaded = shop.load("full", precision="bf16")
    assert shop.store.product("full")["base"] is None
    assert {value.dtype for value in loaded.model.parameters()} == {torch.bfloat16}
    raw = (shop.store.object("full") / "model" / "model.safetensors").stat().st_size
    assert raw < 2.2 * sum(value.numel() for value in loaded.model.parameters())
    assert metrics["after"]["loss"] < metrics["before"]["loss"]
