"""L11, L19 and L20: what ends a run of ppo, grpo or rloo that cannot be trusted.

Seen to fail: with LEASH at 50; with the count of strained iterations never set back; with the
standard error left out of `below_zero`; with `isfinite` exchanged for `isnan`; with the temperature
left out of the probabilities that `sample` notes.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from workshop import TINY, Shop, collect

from tunelang.errors import UserError
from tunelang.plan.ir import StoreModel
from tunelang.train import policy_checks
from tunelang.train.evaluate import Lens
from tunelang.train.experience import Rollout, Settings, log_probabilities_of
from tunelang.train.generate import Sampling
from tunelang.train.job import Job
from tunelang.train.policy_run import State
from tunelang.train.policy_stats import Stats
from tunelang.train.roles import Role
from tunelang.train.rollout import sample


def run_of(
    target: float | None = None, precision: str = "fp32"
) -> tuple[Any, list[dict[str, Any]]]:
    """As much of a run as the checks look at, and the events it emits."""
    events, emit = collect()
    job = Job(None, None, None, emit)  # type: ignore[arg-type]
    start = StoreModel(key=TINY)
    return SimpleNamespace(
        job=job,
        step=SimpleNamespace(inputs={"policy": start, "reference": start}),
        state=State(0.05),
        fields={"kl": {"target": target}},
        who=SimpleNamespace(lens=Lens(precision, "cpu", 0)),
    ), events


def rollout(*kls: float) -> Rollout:
    """Episodes of two tokens with these log-ratios to the reference, in nats a reply."""
    ratios = torch.tensor(kls)[:, None].expand(-1, 2) / 2
    mask = torch.ones(len(kls), 2, dtype=torch.bool)
    return Rollout([], mask, ratios, torch.zeros_like(ratios), torch.zeros(len(kls)), 0.05)


def refused(told: pytest.ExceptionInfo[UserError]) -> str:
    return told.value.diagnostic.code


def test_a_start_away_from_its_reference_is_refused() -> None:
    """A KL of 0.01 nats a token before any update; 0.0001 is rounding."""
    this, _ = run_of()
    policy_checks.begins_at_reference(this, rollout(2e-4, 2e-4))
    with pytest.raises(UserError) as told:
        policy_checks.begins_at_reference(this, rollout(0.02, 0.02))
    assert refused(told) == "TL790"


def test_another_reference_may_be_away() -> None:
    """Where the recipe names one, the first KL is what it is."""
    this, events = run_of()
    this.step.inputs["reference"] = StoreModel(key="other")
    policy_checks.begins_at_reference(this, rollout(3.0, 3.0))
    assert not events


def test_a_first_ratio_off_one_is_refused() -> None:
    """1.01 in fp32; in bf16 it is rounding."""
    stats = Stats({}, first_ratio=1.01)
    policy_checks.first_ratio_is_one(run_of(precision="bf16")[0], stats)
    with pytest.raises(UserError) as told:
        policy_checks.first_ratio_is_one(run_of()[0], stats)
    assert refused(told) == "TL790"


@pytest.mark.parametrize("score", [float("nan"), float("inf")])
def test_scores_that_are_no_numbers_are_refused(score: float) -> None:
    """In any iteration, not the first alone."""
    this, _ = run_of()
    this.state.at = 7
    with pytest.raises(UserError) as told:
        policy_checks.rewards_are_finite(this, torch.tensor([1.0, score]))
    assert refused(told) == "TL790"


def test_equal_scores_are_told() -> None:
    """Once, of the first rollout."""
    this, events = run_of()
    policy_checks.rewards_are_finite(this, torch.tensor([1.0, 1.0]))
    assert [event["event"] for event in events] == ["check", "warning"]


def test_a_policy_far_beyond_its_target_ends_the_run() -> None:
    """Over 5 times the target is told, three times in a row end it; one within starts anew."""
    this, events = run_of(target=2.0)
    for kl in (10.5, 10.5, 9.5, 10.5, 10.5):
        policy_checks.leash(this, rollout(kl, kl))
    assert len(events) == 4
    with pytest.raises(UserError) as told:
        policy_checks.leash(this, rollout(10.5, 10.5))
    assert refused(told) == "TL791"


def test_a_kl_below_zero_is_other_tokens_than_were_drawn() -> None:
    """-0.5 nats in every reply; a mean of -0.5 by chance, of replies from -9 to 8, is let pass."""
    this, events = run_of()
    for _ in range(5):
        policy_checks.leash(this, rollout(-9.0, 8.0, -8.0, 7.0))
    assert not events
    for _ in range(2):
        policy_checks.leash(this, rollout(-0.5, -0.6, -0.4, -0.5))
    with pytest.raises(UserError) as told:
        policy_checks.leash(this, rollout(-0.5, -0.6, -0.4, -0.5))
    assert refused(told) == "TL791"


@pytest.mark.parametrize(("temperature", "ok"), [(0.7, True), (1.0, False)])
def test_replies_drawn_otherwise_than_trained_are_refused(
    shop: Shop, temperature: float, ok: bool
) -> None:
    """L19: drawn at 0.7 and trained at 0.7 is right; trained at 1.0 is not, and is refused."""
    model = shop.load().model
    this, events = run_of()
    prompts = [[5, 6, 7, 8], [9], [10, 11]]
    rows = sample(model, prompts, this.who.lens, Sampling(8, frozenset(), 0.7, 0))
    settings = Settings(temperature, epochs=1, minibatches=1, micro=3, max_grad_norm=1.0)
    old = log_probabilities_of(Role(model, None), rows, this.who.lens, settings)
    found = Rollout(rows, torch.ones(3, 8, dtype=torch.bool), old, old, torch.zeros(3), 0.05)
    if ok:
        policy_checks.trained_as_drawn(this, found)
        assert events[0]["value"] < 1e-5
        return
    with pytest.raises(UserError) as told:
        policy_checks.trained_as_drawn(this, found)
    assert refused(told) == "TL790"
