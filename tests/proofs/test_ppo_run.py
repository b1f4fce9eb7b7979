"""PPO as a step: roles cast from the store, resumed runs, what is measured, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from policies import fields_of, make_judge, step_of
from workshop import Shop, part, preferences, texts, training

from tunelang.plan.ir import Gate, Measure, Step
from tunelang.train import trainable
from tunelang.train.casting import cast
from tunelang.train.engines.single import Single
from tunelang.train.evaluate import Lens
from tunelang.train.experience import log_probabilities_of, settings_of
from tunelang.train.generate import Sampling, draw, left_padded
from tunelang.train.generate import step as advance
from tunelang.train.ppo import critic_of
from tunelang.train.roles import Cast, Judge, Role, score, values
from tunelang.train.rollout import Episode, collate, sample
from tunelang.train.scoring import scores_of
from tunelang.train.speech import Speech

FIELDS = fields_of("ppo")
METRICS = {"reward", "reward_se", "kl", "mean_length", "win_rate"}


@pytest.fixture
def judged(shop: Shop) -> Shop:
    """A shop with a reward called `judge` on the tiny model."""
    return make_judge(shop)


def casting(shop: Shop, step: Step) -> Cast:
    """The roles of a step as `run` casts them."""
    quant = trainable.quantised(step)
    start = shop.load(step.inputs["policy"].key, precision=trainable.storage(step), quant=quant)  # type: ignore[union-attr]
    return cast(step, shop.job(step), start, Speech(start.tokenizer, start.template), Single())


def judge_of(who: Cast) -> Judge:
    assert who.judge is not None
    return who.judge


def test_a_run_tells_what_the_contract_promises(judged: Shop) -> None:
    """Metrics before and after, self-checks, progress of every iteration, samples."""
    metrics = judged.run(step_of("told"))
    assert set(metrics["before"]) == set(metrics["after"]) == METRICS
    assert metrics["before"]["win_rate"] == 0.5
    assert abs(metrics["before"]["kl"]) < 1e-3
    events = judged.events("told")
    checks = {event["name"]: event["ok"] for event in events if event["event"] == "check"}
    assert checks.keys() >= {
        "first-kl-is-zero",
        "first-ratio-is-one",
        "rewards-are-finite",
        "trained-as-drawn",
    }
    assert all(checks.values())
    assert judged.said("told", "warning") == []
    told = [event["metrics"] for event in events if event["event"] == "progress"]
    assert len(told) == 4
    names = "reward kl kl_coefficient entropy policy_loss value_loss clip_fraction mean_length"
    assert set(told[0]) == {*names.split(), "ended"}
    assert [event["at"] for event in events if event["event"] == "measure"] == [0, 3, 4]
    samples = json.loads((judged.store.object("told") / "samples.json").read_text())
    assert set(samples[0]) == {"prompt", "before", "after"}


def test_gates_on_other_rows_measure_the_policy(judged: Shop) -> None:
    """`perplexity(replay)` is taken before and after, on rows that PPO never reads."""
    data = part("text", texts(), name="replay", hold_out=None)
    measure = Measure(text="perplexity(replay)", metric="perplexity", data=data)
    gate = Gate(measure=measure, compare="<", bound=1e6, enforce=True, place="r.tune:1")
    metrics = judged.run(step_of("gated", gates=[gate], lr=3e-2))
    before, after = metrics["before"]["perplexity(replay)"], metrics["after"]["perplexity(replay)"]
    assert 1 < before < 1e6
    assert before != after


def test_roles_on_one_base_are_what_they_were_alone(judged: Shop) -> None:
    """Reward scores equal those of the reward loaded by itself; the reference is the start; the
    critic begins as the reward, bias included."""
    who = casting(judged, step_of("shared"))
    models = {id(role.model) for role in (who.policy, who.reference, critic_of(who).role)}
    assert models == {id(judge_of(who).role.model)}
    rows = [Episode([5, 6, 7], [8, 9], False), Episode([5, 6], [9, 4, 3], False)]
    alone = judged.load("judge")
    assert alone.head is not None
    expected = scores_of(alone.model, alone.head, [row.ids for row in rows], who.lens) + alone.bias
    assert (score(judge_of(who), rows, who.lens) - expected).abs().max() < 1e-5
    settings = settings_of(FIELDS, 8)
    own = log_probabilities_of(who.policy, rows, who.lens, settings)
    assert torch.equal(own, log_probabilities_of(who.reference, rows, who.lens, settings))
    start = Role(judged.load().model, None)
    assert torch.equal(own, log_probabilities_of(start, rows, who.lens, settings))
    last = values(critic_of(who), collate(rows, 0, "cpu"), who.lens)[1]  # before the last token
    before_last = scores_of(alone.model, alone.head, [rows[0].ids[:-1]], who.lens) + alone.bias
    assert abs(float(last - before_last[0])) < 1e-5


def test_everything_trained_means_models_of_their_own(judged: Shop) -> None:
    """weights = full: four models; the reference and the reward are frozen."""
    who = casting(judged, step_of("copies", weights="full"))
    roles = [who.policy, who.reference, critic_of(who).role, judge_of(who).role]
    assert len({id(role.model) for role in roles}) == 4
    trains = [any(w.requires_grad for w in role.model.parameters()) for role in roles]
    assert trains == [True, False, True, False]


@pytest.mark.parametrize("kind", ["rslora", "dora"])
def test_a_critic_copied_from_its_judge_computes_as_it(shop: Shop, kind: str) -> None:
    """V before the last token is the judge's score of what is before it, however it was adapted.

    Seen to fail: with the copy made of rank, alpha and targets alone, as it once was.
    """
    data = part("preference", preferences(60))
    shape = {"adapter": {kind: True}, "fields": {"center": 0.01}}
    shop.run(training("reward_modeling", "judge", data, **shape))
    who = casting(shop, step_of("copied"))
    row = Episode([5, 6], [9, 4, 3], False)
    found = values(critic_of(who), collate([row], 0, "cpu"), who.lens)
    judge = judge_of(who)
    with trainable.using(judge.role.model, judge.role.adapters or ()):
        read = [row.ids[: 2 + at] for at in range(3)]
        expected = scores_of(judge.role.model, judge.head, read, who.lens) + judge.bias
    assert (found - expected).abs().max() < 1e-5
    with trainable.using(judge.role.model, ()):
        plain = scores_of(judge.role.model, judge.head, read, who.lens) + judge.bias
    assert (plain - expected).abs().max() > 1e-3


@pytest.mark.parametrize("method", ["grpo", "rloo"])
def test_without_a_critic_there_is_no_value_model(judged: Shop, method: str) -> None:
    """Adapters of policy and reward alone over one base, and only the policy's train."""
    who = casting(judged, step_of("shared", method=method))
    assert who.critic is None
    assert who.policy.model is judge_of(who).role.model is who.reference.model
    names = {path for path, w in who.trained.model.named_parameters() if w.requires_grad}
    assert names and all(".policy." in path for path in names)
    assert not any(".value." in path for path, _ in who.trained.model.named_parameters())


@pytest.mark.parametrize("method", ["ppo", "grpo", "rloo"])
def test_a_function_takes_no_copy_of_a_model(judged: Shop, method: str) -> None:
    """weights = full and a function: policy, frozen reference, and ppo's value model, no more."""
    fields = {"reward": {"kind": "length", "target": 4.0}}
    who = casting(judged, step_of("free", method=method, weights="full", fields=fields))
    assert who.judge is None
    assert not any(w.requires_grad for w in who.reference.model.parameters())
    assert who.reference.model is not who.policy.model
    assert (who.critic is not None) == (method == "ppo")
    if who.critic:
        assert who.critic.role.model is not who.policy.model
        assert not who.critic.head.weight.any()


def test_a_reward_on_other_weights_is_a_model_of_its_own(judged: Shop) -> None:
    """The policy went on from the reward's start: the reward is not put on the wrong weights."""
    data = part("text", texts())
    judged.run(training("domain_adaptation", "later", data, fields={"packing": False}))
    step = step_of("apart", policy="later")
    who = casting(judged, step)
    assert judge_of(who).role.model is not who.policy.model
    assert not any(w.requires_grad for w in judge_of(who).role.model.parameters())
    assert not critic_of(who).head.weight.any()
    metrics = judged.run(step)
    assert metrics["before"]["win_rate"] == 0.5
    assert any("starts from the policy" in text for text in judged.said("apart", "note"))


def test_what_sampling_draws_has_the_probabilities_training_sees(shop: Shop) -> None:
    """With a cache, padding on the left and one token at a time: the same log-probabilities as
    one pass over the whole row, at the sampling temperature."""
    model, lens = shop.load().model, Lens("fp32", "cpu", 0)
    prompts = [[5, 6, 7, 8, 9, 10], [11, 12], [13, 14, 15]]
    ids, mask = left_padded(prompts, 0, "cpu")
    cache, drawn, seen = None, [], []
    generator = torch.Generator().manual_seed(0)
    for _ in range(6):
        logits, cache = advance(model, ids, mask, cache)
        token = draw(logits, 0.7, generator)
        seen.append(torch.log_softmax(logits / 0.7, -1)[range(3), token])
        drawn.append(token)
        ids, mask = token[:, None], torch.cat([mask, torch.ones(3, 1, dtype=mask.dtype)], 1)
    replies = torch.stack(drawn, 1).tolist()
    sampled = sample(model, prompts, lens, Sampling(6, frozenset(), 0.7, 0))
    assert [row.reply for row in sampled] == replies
    rows = [Episode(asked, reply, False) for asked, reply in zip(prompts, replies, strict=True)]
    settings = replace(settings_of(FIELDS, 2), temperature=0.7)
    found = log_probabilities_of(Role(model, None), rows, lens, settings)
    assert (found - torch.stack(seen, 1)).abs().max() < 1e-5
