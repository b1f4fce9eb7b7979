"""Rewards that are computed: what they score, how they reach the policy, what ends a run.

Seen to fail: with the end token counted in `length`; with `search` for `fullmatch`; with NaN let
through as JSON; with the answers of other rows (`asked` reversed in `scored`); with scores clipped
after the penalty; without the timer of `limited` (the test then does not end).
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
import torch
from policies import ROLLOUT, step_of
from test_ppo_run import casting
from workshop import Shop, instructions, part, schedule, texts

from tunelang.errors import UserError
from tunelang.plan.ir import Batch, Step
from tunelang.train import policy_setup, ppo, trainable
from tunelang.train.data import Example
from tunelang.train.policy_run import Asked, Run, judged, scored
from tunelang.train.reward_functions import Reply, scorer
from tunelang.train.rollout import Episode
from tunelang.train.speech import Speech


def score(kind: str, text: str, tokens: int = 0, answer: str | None = None, **fields: Any) -> float:
    return scorer({"kind": kind, **fields})(Reply(text, tokens, answer))


@pytest.mark.parametrize(
    ("tokens", "expected"), [(40, 1.0), (30, 0.75), (50, 0.75), (0, 0.0), (80, 0.0), (400, 0.0)]
)
def test_length_falls_off_on_both_sides(tokens: int, expected: float) -> None:
    """1 - min(1, |n - 40| / 40)."""
    assert score("length", "", tokens, target=40.0) == pytest.approx(expected)


def test_regex_is_found_or_is_all() -> None:
    """`whole` leaves no room but for space around; a dot matches no line end, as in Python."""
    assert score("regex", "so <a>1</a>.", pattern="<a>.*</a>", whole=False) == 1
    assert score("regex", "so <a>1</a>.", pattern="<a>.*</a>", whole=True) == 0
    assert score("regex", " <a>1</a>\n", pattern="<a>.*</a>", whole=True) == 1
    assert score("regex", "<a>1\n</a>", pattern="<a>.*</a>", whole=False) == 0
    assert score("regex", "<a>1\n</a>", pattern="(?s)<a>.*</a>", whole=False) == 1


@pytest.mark.parametrize(
    ("said", "answer", "after", "case", "expected"),
    [
        (" 42 ", "42", "", True, 1),
        ("forty  two", "forty two", "", True, 1),
        ("Paris", "paris", "", True, 0),
        ("Paris", "paris", "", False, 1),
        ("it is 42", "42", "", True, 0),
        ("6 x 7 #### 42", "so #### 42", "####", True, 1),
        ("6 x 7 #### 42", "42", "####", True, 1),
        ("6 x 7 = 42", "so #### 42", "####", True, 0),
        ("#### 41 #### 42", "#### 42", "####", True, 1),
        ("", "", "", True, 0),
    ],
)
def test_exact_match(said: str, answer: str, after: str, case: bool, expected: float) -> None:
    """Words are compared, after the last mark where there is one; nothing is never right."""
    assert score("exact_match", said, 0, answer, after=after, case=case) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"name": 1, "age": 2}', 1.0),
        ('{"name": 1}', 2 / 3),
        ("{}", 1 / 3),
        ("[1, 2]", 1 / 3),
        (' "name" ', 1 / 3),
        ('{"name": NaN, "age": 2}', 0.0),
        ("{'name': 1}", 0.0),
        ('{"name": 1} and more', 0.0),
        ("[" * 100_000, 0.0),
        ("1" * 5000, 1 / 3),
        ("", 0.0),
    ],
)
def test_json_is_valid_and_has_its_keys(text: str, expected: float) -> None:
    """(1 + keys that are there) / 3; JSON as in RFC 8259, which has no NaN."""
    assert score("json", text, keys=["name", "age"]) == pytest.approx(expected)


def test_a_pattern_that_takes_for_ever_ends_the_run() -> None:
    """(a+)+$ on 40 a's and a b would take years; after a second it is said so."""
    with pytest.raises(UserError) as told:
        score("regex", "a" * 40 + "b", pattern="(a+)+$", whole=False)
    assert told.value.diagnostic.code == "TL527"
    assert "took more than 1 s" in told.value.diagnostic.message


# --- through the worker -----------------------------------------------------------------------

ANSWERS = {"kind": "exact_match", "after": "", "case": True}


def run_of(shop: Shop, step: Step) -> Run:
    """A run as `policy_loop.run` prepares it, before any sampling."""
    start = shop.load(precision=trainable.storage(step))
    speech = Speech(start.tokenizer, start.template)
    job = shop.job(step)
    parts = policy_setup.prompts(step, job, speech)
    algorithm = ppo.algorithm(step.fields, 8)
    return policy_setup.prepare(step, job, casting(shop, step), (algorithm, speech, parts))


def ids(this: Run, text: str) -> list[int]:
    return list(this.speech.tokenizer(text, add_special_tokens=False)["input_ids"])


def test_each_reply_is_compared_with_the_answer_of_its_row(shop: Shop) -> None:
    """Rows `say A and B` -> `A and B`: the row's own reply scores 1, another row's 0."""
    step = step_of("told", fields={"reward": ANSWERS}, data=part("instruct", instructions()))
    this = run_of(shop, step)
    one, two = this.parts[0].train[:2]
    assert one.answer and two.answer and one.answer != two.answer
    end = this.speech.tokenizer.eos_token_id
    own = [Episode(row.ids, [*ids(this, row.answer or ""), end], True) for row in (one, two)]
    swapped = [Episode(one.ids, own[1].reply, True), Episode(two.ids, own[0].reply, True)]
    assert scored(this, [one, two], own).tolist() == [1.0, 1.0]
    assert scored(this, [one, two], swapped).tolist() == [0.0, 0.0]


def test_the_answer_of_a_conversation_is_its_first_reply(shop: Shop) -> None:
    """What the assistant says after the prompt, which ends where it first speaks."""
    said = [("user", "a"), ("assistant", "first"), ("user", "b"), ("assistant", "second")]
    messages = [{"role": role, "content": text} for role, text in said]
    assert policy_setup.answer(Example("chat", {"messages": messages}, "row 1")) == "first"
    assert policy_setup.answer(Example("instruct", {"reply": "all"}, "row 1")) == "all"


def test_a_row_without_an_answer_is_a_mistake(shop: Shop) -> None:
    """TL302 from the worker, for rows that no plan has seen."""
    with pytest.raises(UserError) as told:
        run_of(shop, step_of("none", fields={"reward": ANSWERS}))
    assert told.value.diagnostic.code == "TL302"


def test_scores_are_clipped_and_endless_replies_cost(shop: Shop) -> None:
    """Length scores 0.75 and 0.25: clipped at 0.5; the reply that does not end loses 1 more.

    The token that ends a reply is not part of its length, and is that of the penalty (L23).
    """
    fields = {"reward": {"kind": "length", "target": 4.0}, "clip_rewards": 0.5}
    this = run_of(shop, step_of("clipped", fields=fields))
    end = this.speech.tokenizer.eos_token_id
    assert this.stop == {end}
    asked = [Asked("", [5]), Asked("", [5])]
    rows = [Episode([5], [6, 7, 8, end], True), Episode([5], [6], False)]
    assert scored(this, asked, rows).tolist() == [0.75, 0.25]
    assert judged(this, asked, rows).tolist() == [0.5, 0.25 - 1.0]


@pytest.mark.parametrize("method", ["ppo", "grpo", "rloo"])
def test_a_function_needs_no_judge(shop: Shop, method: str) -> None:
    """One run by length alone: measured, kept, and no reward model anywhere."""
    fields = {"reward": {"kind": "length", "target": 4.0}}
    step = step_of("short", method=method, fields=fields)
    assert "reward" not in step.inputs
    metrics = shop.run(step)
    assert 0 <= metrics["before"]["reward"] <= 1
    names = {found.split(".")[-2] for found, _ in shop.load("short").model.named_parameters()}
    assert not any("reward" in name for name in names)
    series = json.loads((shop.store.object("short") / "metrics.json").read_text())["series"]
    assert ("flat_groups" in series[0]) == (method != "ppo")
    assert ("value_loss" in series[0]) == (method == "ppo")


def test_what_a_function_rewards_is_learnt(shop: Shop) -> None:
    """rloo on replies of 8 tokens with a vowel: from half of them (0.53 measured) to 0.97."""
    fields = {
        "reward": {"kind": "regex", "pattern": "[aeiou]", "whole": False},
        "kl": {"coefficient": 0.0, "target": None, "horizon": 1e4},
        "rollout": {**ROLLOUT, "epochs": 4, "minibatches": 1, "group": 8},
        "penalty": {"no_end_of_text": 0.0},
    }
    more = {
        "schedule": schedule(20),
        "batch": Batch(size=32, noun="episodes"),
        "lr": 3e-3,
        "weights": "full",
    }
    shop.run(step_of("learnt", method="rloo", fields=fields, **more))
    series = json.loads((shop.store.object("learnt") / "metrics.json").read_text())["series"]
    assert sum(point["reward"] for point in series[:3]) / 3 < 0.65
    assert sum(point["reward"] for point in series[-3:]) / 3 > 0.9


# --- texts mixed in ---------------------------------------------------------------------------


def test_texts_add_the_gradient_of_their_loss(shop: Shop) -> None:
    """gamma grad (1/N) sum -log pi(x), whatever the micro-batch; texts by the update's number."""
    data = part("text", texts(), name="texts", hold_out=None)
    step = step_of("ptx", fields={"reward": {"kind": "length", "target": 4.0}}, pretraining=data)
    this = run_of(shop, step)
    assert this.texts is not None
    rows = this.texts.rows_of(3)
    assert rows == this.texts.rows_of(3) != this.texts.rows_of(4)
    own = trainable.adapter_parameters(this.who.trained.model, "policy")
    total = sum(row.supervised for row in rows)
    model = this.who.policy.model
    with trainable.using(model, this.who.policy.adapters or ()):
        losses = [
            torch.nn.functional.cross_entropy(
                model(input_ids=torch.tensor([row.ids]), use_cache=False).logits[0, :-1],
                torch.tensor(row.ids[1:]),
                reduction="sum",
            )
            for row in rows
        ]
    loss = torch.stack(losses).sum() / total
    expected = torch.autograd.grad(27.8 * loss, own, allow_unused=True)
    for micro in (8, 2):
        for weight in own:
            weight.grad = None
        found = replace(this.texts, micro=micro).backward(this.who, 3)
        assert abs(found - float(loss.detach())) < 1e-5
        for weight, gradient in zip(own, expected, strict=True):
            assert gradient is not None and weight.grad is not None
            assert (weight.grad - gradient).abs().max() < 1e-4 * 27.8


def test_texts_are_measured_and_said(shop: Shop) -> None:
    """`pretraining_loss` in every iteration; without texts there is none."""
    data = part("text", texts(), name="texts", hold_out=None)
    fields = {"reward": {"kind": "length", "target": 4.0}}
    shop.run(step_of("with", fields=fields, pretraining=data))
    series = json.loads((shop.store.object("with") / "metrics.json").read_text())["series"]
    assert all(3 < point["pretraining_loss"] < 7 for point in series)  # ln 384 is 5.95
