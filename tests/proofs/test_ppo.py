"""PPO against an exact optimum: replies that can be enumerated, and the code the product runs."""

from __future__ import annotations

import itertools
import math
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM

from tunelang.plan.ir import Weights
from tunelang.train import trainable
from tunelang.train.evaluate import Lens
from tunelang.train.experience import Settings, experience, learn, log_probabilities_of
from tunelang.train.generate import Sampling
from tunelang.train.model import Loaded
from tunelang.train.roles import Cast, Critic, Judge, Role, score
from tunelang.train.rollout import Episode, sample

WORDS, LENGTH = 12, 2  # a vocabulary of 12 and replies of 2 tokens: 144 replies in all
LENS = Lens("fp32", "cpu", 0)
REPLIES = list(itertools.product(range(WORDS), range(WORDS)))


def settings(**changed: float) -> Settings:
    plain = {
        "temperature": 1.0,
        "clip": 0.2,
        "value_clip": 0.2,
        "value_weight": 0.5,
        "gamma": 1.0,
        "lam": 0.95,
        "epochs": 4,
        "minibatches": 2,
        "micro": 64,
        "max_grad_norm": 1.0,
    }
    return Settings(**(plain | changed))  # type: ignore[arg-type]


def toy() -> Cast:
    """Four roles on one base of one layer; the reward role is an adapter that must not move."""
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
    fields = {"rank": 8, "alpha": 16, "targets": "all_linear", "dropout": 0.0}
    weights = Weights(kind="lora", fields=fields)
    loaded = Loaded(model, None, SimpleNamespace(quant=None))  # type: ignore[arg-type]
    trained = trainable.make_trainable(loaded, weights, "policy")
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


def train(who: Cast, rewards: Tensor, beta: float, iterations: int) -> None:
    """The product's rollout, experience and update, with a table in the reward model's place."""
    own = trainable.adapter_parameters(who.trained.model, "policy")
    theirs = trainable.adapter_parameters(who.trained.model, "value")
    theirs += list(who.critic.head.parameters())
    optimizers = [torch.optim.Adam(own, lr=1e-2, eps=1e-5), torch.optim.Adam(theirs, lr=5e-3)]
    asked, order = prompts(), torch.Generator().manual_seed(3)
    for at in range(iterations):
        if at == iterations * 2 // 3:
            for group in (*optimizers[0].param_groups, *optimizers[1].param_groups):
                group["lr"] *= 0.2
        chosen = [asked[i] for i in torch.randint(0, 8, (128,), generator=order)]
        with trainable.using(who.policy.model, who.policy.adapters or ()):
            drawn = sample(who.policy.model, chosen, LENS, Sampling(LENGTH, frozenset(), 1.0, at))
        scores = torch.stack([rewards[row.reply[0] * WORDS + row.reply[1]] for row in drawn])
        found = experience(who, drawn, scores, beta, settings())
        stats = learn(who, found, optimizers, settings(), order)
        if at == 0:
            assert abs(stats.first_ratio - 1) < 1e-3
            assert abs(found.kl) < 1e-4


def objective(who: Cast, rewards: Tensor, beta: float, reference: Tensor) -> tuple[float, float]:
    """J = E[r] - beta KL and the KL, exactly."""
    own = exact(who.policy)
    reward = (own.exp() * rewards).sum(1).mean()
    kl = (own.exp() * (own - reference)).sum(1).mean()
    return float(reward - beta * kl), float(kl)


def test_ppo_closes_most_of_the_gap_to_the_exact_optimum() -> None:
    """At least 0.6 of J* - J0, KL at most twice the optimum's, never above J*; reference and
    reward adapter do not move by a bit."""
    who, rewards, beta = toy(), table(), 0.5
    reference, judge = exact(who.reference), adapter(who, "reward")
    normal = torch.logsumexp(reference + rewards / beta, 1)
    best = float((beta * normal).mean())
    star = reference + rewards / beta - normal[:, None]
    best_kl = float((star.exp() * (star - reference)).sum(1).mean())
    start, _ = objective(who, rewards, beta, reference)
    train(who, rewards, beta, 75)
    reached, kl = objective(who, rewards, beta, reference)
    assert (reached - start) / (best - start) >= 0.6
    assert reached <= best + 1e-3
    assert kl <= 2 * best_kl
    assert torch.equal(exact(who.reference), reference)
    assert all(torch.equal(a, b) for a, b in zip(judge, adapter(who, "reward"), strict=True))


def test_a_heavy_penalty_keeps_the_policy_at_its_reference() -> None:
    """With beta = 50 the KL after the same updates is less than a tenth of that with none."""
    kls = []
    for beta in (0.0, 50.0):
        who, rewards = toy(), table()
        reference = exact(who.reference)
        train(who, rewards, beta, 12)
        kls.append(objective(who, rewards, beta, reference)[1])
    assert kls[1] < 0.1 * kls[0]


def test_micro_batches_do_not_change_an_update() -> None:
    """One rollout learnt from in micro-batches of 64 and of 16 gives the same weights."""
    ends = []
    for micro in (64, 16):
        who, rewards = toy(), table()
        own = trainable.adapter_parameters(who.trained.model, "policy")
        theirs = trainable.adapter_parameters(who.trained.model, "value")
        optimizers = [torch.optim.SGD(own, lr=0.1), torch.optim.SGD(theirs, lr=0.1)]
        chosen = prompts() * 8
        with trainable.using(who.policy.model, ("policy",)):
            drawn = sample(who.policy.model, chosen, LENS, Sampling(LENGTH, frozenset(), 1.0, 5))
        scores = torch.stack([rewards[row.reply[0] * WORDS + row.reply[1]] for row in drawn])
        found = experience(who, drawn, scores, 0.1, settings(micro=micro))
        order = torch.Generator().manual_seed(0)
        learn(who, found, optimizers, settings(micro=micro, epochs=1, minibatches=1), order)
        ends.append(torch.cat([w.detach().flatten() for w in (*own, *theirs)]))
    assert (ends[0] - ends[1]).abs().max() < 1e-6


def test_padding_on_the_left_changes_no_sampled_reply() -> None:
    """A prompt sampled greedily alone and beside a longer one gets the same reply."""
    who = toy()
    short, long = [3, 4], [5, 6, 7, 8, 9, 10]
    with trainable.using(who.policy.model, ("policy",)):
        alone = sample(who.policy.model, [short], LENS, Sampling(4, frozenset(), 0.0, 0))
        both = sample(who.policy.model, [short, long], LENS, Sampling(4, frozenset(), 0.0, 0))
    assert alone[0].reply == both[0].reply


def test_scores_do_not_depend_on_the_batch() -> None:
    """The reward role reads the last real token of each row."""
    who = toy()
    rows = [Episode([3, 4], [5], True), Episode([3, 4, 6], [7, 8, 9], True)]
    together = score(who.judge, rows, LENS)
    alone = torch.stack([score(who.judge, [row], LENS)[0] for row in rows])
    assert (together - alone).abs().max() < 1e-5
    assert not math.isclose(float(together[0]), float(together[1]))


@pytest.mark.parametrize("name", ["policy", "value"])
def test_only_policy_and_value_train(name: str) -> None:
    """Exactly the two adapters have gradients switched on."""
    who = toy()
    moving = {path for path, w in who.trained.model.named_parameters() if w.requires_grad}
    assert any(f".{name}." in path for path in moving)
    assert not any(".reward." in path or "lora" not in path for path in moving)
