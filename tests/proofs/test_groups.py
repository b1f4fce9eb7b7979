"""P19: groups of weights have the rates of the formula, thaw by the timetable, and stay until then.

The subject is the tiny model: embeddings, layer 0, layer 1 and a head of classes.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch
from killed import resumes
from test_classifier import transfer
from torch import nn
from transformers import AutoModelForCausalLM, GPT2Config, LlamaConfig
from workshop import Shop, instructions, part, schedule, training

from tunelang.errors import UserError
from tunelang.plan.ir import Step, Weights
from tunelang.train import groups, loop, optimise, thaw
from tunelang.train.thaw import Timetable

STEPS, EVERY, FACTOR = 12, 3, 2.6
GROUPS = ["embeddings", "layer 0", "layer 1", "head"]
GRADUAL = {"unfreeze": {"kind": "gradual", "every": EVERY}, "discriminative": FACTOR}


def gradual(key: str, **more: Any) -> Step:
    """12 updates under a slanted triangle; one more group every 3."""
    plan = schedule(STEPS, kind="slanted_triangular", warmup=3, floor=1 / 32, save_every=5)
    return transfer(key, fields=GRADUAL, schedule=plan, **more)


def seen_at_every_step(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, step: Step
) -> tuple[list[dict[str, Any]], list[dict[str, float]]]:
    """Weights before the first update and after each one, and the rate of each weight in it."""
    weights, rates = [], []
    before, after = loop.switch, loop.after_update

    def copies(modules: dict[str, nn.Module]) -> dict[str, torch.Tensor]:
        return {
            f"{prefix}.{name}": value.detach().clone()
            for prefix, module in modules.items()
            for name, value in module.named_parameters()
        }

    def first(objective: loop.Objective, *, training: bool) -> None:
        before(objective, training=training)
        if not weights:
            weights.append(copies(objective.modules))

    def each(run: loop.Training) -> None:
        weights.append(copies(run.objective.modules))
        held = {
            id(value): group["lr"]
            for group in run.engine.optimizer("main").param_groups
            for value in group["params"]
        }
        rates.append({name: held[id(value)] for name, value in run.objective.named.items()})
        after(run)

    with monkeypatch.context() as patched:
        patched.setattr(loop, "switch", first)
        patched.setattr(loop, "after_update", each)
        shop.run(step)
    return weights, rates


def group_of(name: str) -> str:
    """The group of a weight of the tiny model, by its name."""
    if "embed_tokens" in name:
        return "embeddings"
    at = name.find("layers.")
    return f"layer {name[at + 7]}" if at >= 0 else "head"


def test_only_scheduled_groups_move_and_at_their_rates(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At update t exactly the top 1 + t // 3 groups have changed bits; all others are equal to the
    bit. Every group's rate is the one above it / 2.6 and the head's is equation 3 of ULMFiT.

    Seen to fail: Timetable.opened one update late; the scale 2.6^-k upside down; set_rate without
    the scale (all weights at lr).
    """
    weights, rates = seen_at_every_step(shop, monkeypatch, gradual("seen"))
    for at in range(STEPS):
        moved = {
            group_of(name)
            for name, value in weights[at + 1].items()
            if not torch.equal(value, weights[at][name])
        }
        assert moved == set(GROUPS[-min(4, 1 + at // EVERY) :]), at
        by_group: dict[str, set[float]] = {}
        for name, rate in rates[at].items():
            by_group.setdefault(group_of(name), set()).add(rate)
        p = at / 3 if at < 3 else 1 - (at - 3) / (3 * (1 / 0.25 - 1))
        assert all(len(found) == 1 for found in by_group.values())
        paces = [by_group[name].pop() for name in GROUPS]
        assert paces[-1] == pytest.approx(3e-3 * (1 + p * 31) / 32, rel=1e-12)
        for lower, upper in pairwise(paces):
            assert upper / lower == pytest.approx(FACTOR, rel=1e-12)


def test_killed_while_thawing_and_resumed_is_bitwise_the_same(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed at update 7, between the checkpoint of 5 (two groups train) and the third group's
    start: weights, head, metrics and curve are equal to the bit.

    Seen to fail: `prepare` called after the checkpoint is put back (other weights than it trains).
    """
    resumes(shop, monkeypatch, gradual, 7, 5)


def test_an_optimizer_of_what_trains_first_is_found_out(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """transformers' Trainer with a callback: later groups get gradients and never move. The run
    stops at the first of them.

    Seen to fail: the check of Thaw._see always passed (the run ends well, and has trained a head).
    """
    make = optimise.optimizer

    def theirs(step: Step, named: dict[str, Any], scales: dict[str, float]) -> Any:
        head = {name: value for name, value in named.items() if group_of(name) == "head"}
        return make(step, head, scales)

    monkeypatch.setattr(optimise, "optimizer", theirs)
    with pytest.raises(UserError) as found:
        shop.run(gradual("theirs"))
    assert "layer 1 was unfrozen and has not moved" in found.value.diagnostic.message


def test_rates_too_small_to_move_anything_are_told(shop: Shop) -> None:
    """2.6 for 30 groups: the lowest would train at lr / 1e12. It is warned of, not hidden."""
    step = gradual("faint")
    step = step.model_copy(update={"fields": {**step.fields, "discriminative": 100_000.0}})
    shop.run(step)
    assert any("too small to move it" in text for text in shop.said("faint", "warning"))


@pytest.mark.parametrize(
    ("timetable", "expected"),
    [
        (Timetable(), [4, 4, 4, 4, 4, 4]),
        (Timetable(every=2), [1, 1, 2, 2, 3, 3, 4, 4, 4]),
        (Timetable(probe=3), [1, 1, 1, 4, 4]),
        (Timetable(probe=3, every=2), [1, 1, 1, 2, 2, 3, 3, 4]),
    ],
)
def test_the_timetable(timetable: Timetable, expected: list[int]) -> None:
    """One group in every stretch, from the top; after a probe two, then one more at a time."""
    assert [timetable.opened(at, 4) for at in range(len(expected))] == expected


def models() -> dict[str, Any]:
    small = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2, "vocab_size": 50}
    llama = LlamaConfig(**small, intermediate_size=48, num_key_value_heads=1)
    untied, tied = LlamaConfig(**llama.to_dict()), LlamaConfig(**llama.to_dict())
    untied.tie_word_embeddings, tied.tie_word_embeddings = False, True
    gpt2 = GPT2Config(n_embd=32, n_layer=3, n_head=2, vocab_size=50)
    named = {"untied": untied, "tied": tied, "gpt2": gpt2}
    return {name: AutoModelForCausalLM.from_config(config) for name, config in named.items()}


def test_every_used_weight_is_in_one_group() -> None:
    """Each weight once, layers by their number. An output layer of its own is of the head that
    speaks and of none where classes are told; a tied one is of the head, or of the embeddings.

    Seen to fail: the output layer taken for one more weight of the last norm's kind.
    """
    for name, model in models().items():
        model.requires_grad_(True)
        output = id(model.get_output_embeddings().weight)
        for head in (None, nn.Linear(32, 2)):
            found = groups.of(model, head)
            ids = [id(value) for group in found for value in group.values.values()]
            assert len(ids) == len(set(ids))
            missing = {id(value) for value in model.parameters()} - set(ids)
            assert missing == ({output} if head and name == "untied" else set())
            home = {id(value): group.name for group in found for value in group.values.values()}
            if head is None:
                assert home[output] == "head"
            elif name != "untied":
                assert home[output] == "embeddings"
            for number, block in enumerate(groups.layers(model)):
                assert {home[id(value)] for value in block.parameters()} == {f"layer {number}"}


@pytest.mark.parametrize(
    ("fields", "moving"),
    [({"last": 1}, {"layer 1"}), ({"from": 0, "to": 0}, {"layer 0"}), ({}, {"layer 0", "layer 1"})],
)
def test_layers_train_exactly_those(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, fields: dict[str, int], moving: set[str]
) -> None:
    """sft with `layers(...)`: every other bit of the model is the start's, the product is whole.

    Seen to fail: `to` left out of the layers that train.
    """
    step = training("sft", "some", part("instruct", instructions()), weights="full", lr=1e-3)
    step = step.model_copy(update={"weights": Weights(kind="layers", fields=fields)})
    shop.run(step)
    start = dict(shop.load().model.named_parameters())
    ended = dict(shop.load("some").model.named_parameters())
    moved = {group_of(name) for name, value in ended.items() if not torch.equal(value, start[name])}
    assert moved == moving
    still = [name for name, value in ended.items() if group_of(name) not in moving]
    assert all(torch.equal(ended[name], start[name]) for name in still)


@pytest.mark.parametrize("fields", [{"last": 3}, {"from": 1, "to": 2}, {"from": 1, "to": 0}])
def test_layers_that_are_not_there_are_refused(shop: Shop, fields: dict[str, int]) -> None:
    """TL540 where the number of layers was not known before the run."""
    step = training("sft", "none", part("instruct", instructions()), weights="full")
    step = step.model_copy(update={"weights": Weights(kind="layers", fields=fields)})
    with pytest.raises(UserError) as found:
        shop.run(step)
    assert found.value.diagnostic.code == "TL540"


def test_the_probe_leaves_the_body_as_it_is(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Linear probing first (arXiv 2202.10054): 4 updates of the head alone, then everything.

    The final norm, which the head reads through, counts as head.
    """
    step = transfer("probed", fields={"probe": 4}, schedule=schedule(6))
    weights, _ = seen_at_every_step(shop, monkeypatch, step)
    for at in range(6):
        moved = {
            group_of(name)
            for name, value in weights[at + 1].items()
            if not torch.equal(value, weights[at][name])
        }
        assert moved == ({"head"} if at < 4 else set(GROUPS))


def test_faint_is_half_a_step_of_fp32() -> None:
    """Adding less than half the distance to the next number changes nothing."""
    weight = torch.tensor(0.02)
    assert float(weight - thaw.FAINT / 2) == float(weight)
    assert float(weight - 2 * thaw.FAINT) != float(weight)
