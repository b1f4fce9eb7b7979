"""Replies that can be enumerated: 12 words, 2 tokens, 144 replies, so that J and KL are exact.

The objective J = E[r] - beta KL(policy, reference) has its optimum in closed form, pi* ~ pi_ref
exp(r / beta), J* = beta log E_ref exp(r / beta). The code that the product runs is trained on it,
with a table in the reward model's place.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM

from tunelang.plan.ir import Weights
from tunelang.train import trainable
from tunelang.train.engines.engine import Unit
from tunelang.train.evaluate import Lens
from tunelang.train.experience import (
    Algorithm,
    Learner,
    Settings,
    learn,
    log_probabilities_of,
    rollout,
)
from tunelang.train.generate import Sampling
from tunelang.train.model import Loaded
from tunelang.train.policy_stats import Stats
from tunelang.train.roles import Cast, Critic, Judge, Role
from tunelang.train.rollout import Episode, sample

WORDS, LENGTH = 12, 2
LENS = Lens("fp32", "cpu", 0)
REPLIES = list(itertools.product(range(WORDS), range(WORDS)))
EPISODES = 128


def settings(**changed: Any) -> Settings:
    """4 passes of 2 updates, unless changed."""
    plain = {"temperature": 1.0, "epochs": 4, "minibatches": 2, "micro": 64, "max_grad_norm": 1.0}
    return Settings(**(plain | changed))  # type: ignore[arg-type]


def start() -> Loaded:
    """A frozen model of one layer that knows the words."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    shape = LlamaConfig(
        vocab_size=WORDS,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=16,
        pad_token_id=0,
        tie_word_embeddings=False,
        initializer_range=0.3,
    )
    model = LlamaForCausalLM(shape).eval()
    model.requires_grad_(False)
    return Loaded(model, None, SimpleNamespace(quant=None))  # type: ignore[arg-type]


def toy() -> Cast:
    """Four roles on one base of one layer; the reward role is an adapter that must not move."""
    fields = {"rank": 8, "alpha": 16, "targets": "all_linear", "dropout": 0.0}
    weights = Weights(kind="lora", fields=fields)
    trained = trainable.make_trainable(start(), weights, "policy")
    trainable.add_adapter(trained.model, "value", weights)
    trainable.add_adapter(trained.model, "reward", weights)
    trainable.train_only(trained.model, ["policy", "value"])
    head = nn.Linear(32, 1)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    wrapped = trained.model
    critic = Critic(Role(wrapped, ("value",)), head)
    judge = Judge(Role(wrapped, ("reward",)), torch.randn(1, 32), 0.0, [])
    return Cast(Role(wrapped, ("policy",)), Role(wrapped, ()), critic, judge, trained, LENS)


def prompts() -> list[list[int]]:
    torch.manual_seed(1)
    return torch.randint(3, WORDS, (8, 2)).tolist()


def table() -> Tensor:
    """A reward for every reply: zero mean, unit variance."""
    torch.manual_seed(2)
    rewards = torch.randn(WORDS * WORDS)
    return (rewards - rewards.mean()) / rewards.std()


def exact(role: Role) -> Tensor:
    """log pi(y | x) for every prompt and reply [8, 144]."""
    rows = [
        log_probabilities_of(role, [Episode(x, list(y), False) for y in REPLIES], LENS, settings())
        for x in prompts()
    ]
    return torch.stack([each.sum(1) for each in rows])


def adapter(who: Cast, name: str) -> list[Tensor]:
    return [w.clone() for w in trainable.adapter_parameters(who.trained.model, name)]


def optimizers(who: Cast, lr: float) -> list[torch.optim.Optimizer]:
    """Adam for the policy and, at half its rate, for the value model."""
    assert who.critic is not None
    own = trainable.adapter_parameters(who.trained.model, "policy")
    theirs = trainable.adapter_parameters(who.trained.model, "value")
    theirs += list(who.critic.head.parameters())
    return adopted(who, torch.optim.Adam(own, lr=lr, eps=1e-5), torch.optim.Adam(theirs, lr=lr / 2))


def adopted(who: Cast, *held: torch.optim.Optimizer) -> list[torch.optim.Optimizer]:
    """The optimizers of the policy and of the value model, if given, in the hands of its engine."""
    pairs = zip(("policy", "value"), held, strict=False)
    who.policy.engine.adopt([unit(name, optimizer) for name, optimizer in pairs])
    return list(held)


def unit(name: str, optimizer: torch.optim.Optimizer) -> Unit:
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    return Unit(name, {}, {str(at): w for at, w in enumerate(weights)}, lambda _: optimizer)


def draw(who: Cast, chosen: list[list[int]], seed: int) -> list[Episode]:
    with trainable.using(who.policy.model, who.policy.adapters or ()):
        return sample(who.policy.model, chosen, LENS, Sampling(LENGTH, frozenset(), 1.0, seed))


def scores_of(rows: list[Episode], rewards: Tensor) -> Tensor:
    return torch.stack([rewards[row.reply[0] * WORDS + row.reply[1]] for row in rows])


def train(
    who: Cast, algorithm: Algorithm, beta: float, iterations: int, group: int = 1, lr: float = 1e-2
) -> None:
    """The product's rollout, advantages and updates; each prompt is replied to `group` times."""
    rewards, held = table(), optimizers(who, lr)
    asked, order = prompts(), torch.Generator().manual_seed(3)
    for at in range(iterations):
        if at == iterations * 2 // 3:
            for parameters in (*held[0].param_groups, *held[1].param_groups):
                parameters["lr"] *= 0.2
        picked = torch.randint(0, 8, (EPISODES // group,), generator=order)
        drawn = draw(who, [asked[i] for i in picked.repeat_interleave(group)], at)
        found = rollout(who, drawn, scores_of(drawn, rewards), beta, algorithm.settings)
        stats = learn(who, algorithm.experience(who, found), Learner(algorithm, order))
        if at == 0:
            starts_at_its_reference(stats, found.kl)


def starts_at_its_reference(stats: Stats, kl: float) -> None:
    """L11: the first ratio is 1 and the first KL is 0."""
    assert abs(stats.first_ratio - 1) < 1e-3
    assert abs(kl) < 1e-4


def kl_of(who: Cast) -> float:
    """KL(policy, reference), exactly."""
    own, reference = exact(who.policy), exact(who.reference)
    return float((own.exp() * (own - reference)).sum(1).mean())


@dataclass(frozen=True)
class Reached:
    """Exact figures after training: share of J* - J0 closed, J - J*, KL and that of the optimum."""

    closed: float
    beyond: float
    kl: float
    best_kl: float


def reached(who: Cast, beta: float) -> Reached:
    """What the policy has come to, by enumeration."""
    rewards, reference = table(), exact(who.reference)
    normal = torch.logsumexp(reference + rewards / beta, 1)
    star = reference + rewards / beta - normal[:, None]
    best = float((beta * normal).mean())
    own = exact(who.policy)
    kl = kl_of(who)
    gained = float((own.exp() * rewards).sum(1).mean()) - beta * kl
    start = float((reference.exp() * rewards).sum(1).mean())
    best_kl = float((star.exp() * (star - reference)).sum(1).mean())
    return Reached((gained - start) / (best - start), gained - best, kl, best_kl)


def closes_most_of_the_gap(algorithm: Algorithm, group: int = 1) -> None:
    """Trained at beta = 0.5 it comes at least 0.6 of the way from J0 to J*, never above J*, with
    a KL at most twice the optimum's; reference and reward do not move by a bit."""
    who = toy()
    reference, judge = exact(who.reference), adapter(who, "reward")
    train(who, algorithm, beta=0.5, iterations=40, group=group)
    end = reached(who, beta=0.5)
    assert end.closed >= 0.6
    assert end.beyond <= 1e-3
    assert end.kl <= 2 * end.best_kl
    assert torch.equal(exact(who.reference), reference)
    assert all(torch.equal(a, b) for a, b in zip(judge, adapter(who, "reward"), strict=True))
