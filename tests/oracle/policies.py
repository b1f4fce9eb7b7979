"""One iteration of train/ppo.py, grpo.py and rloo.py: sampling, scoring, and the updates."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch
from torch import nn

from tests.oracle import steps
from tests.oracle.cases import Case, fields
from tests.oracle.tracker import Tracker
from tunelang.plan.ir import Weights
from tunelang.train import forward, generate, policy_setup, rollout, trainable
from tunelang.train.engines.single import Single
from tunelang.train.evaluate import Lens
from tunelang.train.experience import Learner, Settings, learn
from tunelang.train.experience import rollout as looked_at
from tunelang.train.generate import Sampling
from tunelang.train.grpo import Grpo
from tunelang.train.policy_loop import Algorithm
from tunelang.train.ppo import Ppo
from tunelang.train.rloo import Rloo
from tunelang.train.roles import POLICY, REWARD, VALUE, Cast, Critic, Judge, Role, recomputed, score
from tunelang.train.rollout import Episode

GROUP = 2


def run(case: Case, tracker: Tracker) -> None:
    """Two iterations; the second one is told of."""
    who = cast(case)
    settings = Settings(1.0, 1, 1, case.rows, 1.0)
    algorithm = algorithm_of(case, settings)
    for last in (False, True):
        count = case.rows * case.accumulate
        tracker.begin("generation" if last else "first")
        generation(case, who, tracker, told=last)
        tracker.begin("scoring" if last else "first")
        episodes = [
            Episode([1] * case.prompt, [1] * (case.length - case.prompt), ended=False)
            for _ in range(count)
        ]
        scores = score(who.judge, episodes, who.lens) if who.judge else torch.zeros(count)
        found = looked_at(who, episodes, scores, 0.1, settings)
        experience = algorithm.experience(who, found)
        tracker.begin("update" if last else "first")
        learn(who, experience, Learner(algorithm, torch.Generator()))
        del found, experience
    tracker.begin("end")


def generation(case: Case, who: Cast, tracker: Tracker, *, told: bool) -> None:
    """Prompts are read and the first token is drawn; then the last token, over a full cache."""
    with torch.no_grad():
        prompts = [[1] * case.prompt] * case.sampled
        with Single().whole(who.policy.model) as model:
            rollout.sample(model, prompts, who.lens, Sampling(1, frozenset(), 1.0, 0))
            if not told:
                return
            tracker.begin("filling")
            with forward.autocast(who.lens.precision, who.lens.device):
                full = torch.ones(case.sampled, case.length - 1, dtype=torch.long)
                _, cache = generate.step(model, full, torch.ones_like(full), None)
                tracker.begin("generation")
                mask = torch.ones(case.sampled, case.length, dtype=torch.long)
                generate.step(model, full[:, :1], mask, cache)


def algorithm_of(case: Case, settings: Settings) -> Algorithm:
    if case.method == "ppo":
        return Ppo(settings, 0.2, 0.2, 0.5, 1.0, 0.95)
    if case.method == "grpo":
        reply = case.length - case.prompt
        return Grpo(settings, GROUP, "group", "replies", (0.2, 0.2), reply)
    return Rloo(settings, GROUP, 0.2)


def cast(case: Case) -> Cast:
    """Who is there, as train/casting.py has them."""
    lens = Lens(case.precision, "cpu", 0)
    engine = Single()
    trained = steps.prepared(case, steps.built(case), POLICY, recompute=False)
    adapter = trained.adapter is not None
    policy = Role(trained.model, trained.active if adapter else None, engine)
    judge = judge_of(case, trained, engine)
    critic = critic_of(case, trained, engine)
    if adapter:
        trainable.train_only(trained.model, [POLICY, VALUE] if critic else [POLICY])
    reference = Role(trained.model, trained.start, engine)
    if case.reference == "own":
        reference = Role(steps.built(case), None, engine)
    who = Cast(policy, reference, critic, judge, trained, lens)
    step: Any = SimpleNamespace(
        fields={}, lr=1e-3, place=SimpleNamespace(checkpointing=case.checkpointing, processes=1)
    )
    policy_setup.adopted(step, SimpleNamespace(), who)  # type: ignore[arg-type]
    policy_run_eval(who)
    return who


def policy_run_eval(who: Cast) -> None:
    """`switch` of train/policy_run.py."""
    others = [held.role for held in (who.critic, who.judge) if held]
    for role in (who.policy, who.reference, *others):
        role.model.eval()
    assert not any(layer.training for layer in recomputed(who.policy.model))


def judge_of(case: Case, trained: Any, engine: Single) -> Judge | None:
    if case.judge not in ("adapter", "own"):
        return None
    if case.judge == "own":
        role = Role(steps.whole_model(case, case.precision), None, engine)
    else:
        added(case, trained.model, REWARD)
        role = Role(trained.model, (*trained.start, REWARD), engine)
    return Judge(role, torch.zeros(1, trained.model.config.hidden_size), 0.0, [])


def critic_of(case: Case, trained: Any, engine: Single) -> Critic | None:
    if case.critic == "none":
        return None
    if case.critic == "adapter":
        added(case, trained.model, VALUE)
        role = Role(trained.model, (*trained.start, VALUE), engine)
    else:
        model = steps.whole_model(case, "fp32").requires_grad_(True)
        output = model.get_output_embeddings()
        if output.weight is not model.get_input_embeddings().weight:
            output.weight.requires_grad_(False)
        role = Role(model, None, engine)
    return Critic(role, nn.Linear(role.model.config.hidden_size, 1, dtype=torch.float32))


def added(case: Case, model: Any, name: str) -> None:
    """One more adapter, of the shape of the policy's."""
    kind = Weights.model_construct(kind=case.weights, fields=fields(case))
    trainable.add_adapter(model, name, kind)
