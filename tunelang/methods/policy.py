"""What ppo, grpo and rloo share: the policy, its reference, its reward, and how it is held."""

from __future__ import annotations

from dataclasses import replace

from tunelang.methods.training import DATA, LM, optimisation, weights
from tunelang.recipe.schema import (
    Count,
    Either,
    Field,
    Flag,
    Group,
    HowLong,
    ListOf,
    Number,
    Reference,
    Text,
    Variant,
    Whole,
)

METRICS = ("reward", "kl", "mean_length", "win_rate")
FORMATS = ("prompt", "chat", "instruct")

# Rewards that are computed, each in a range of 0 to 1 (tunelang/train/reward_functions.py).
FUNCTIONS = Variant(
    {
        "length": {"target": Field(Count(("tokens",)), "a reply this long scores 1")},
        "regex": {
            "pattern": Field(Text(), "what is looked for, in Python's syntax"),
            "whole": Field(Flag(), "the whole reply must match", "false"),
        },
        "exact_match": {
            "after": Field(Text(), "only what follows the last such mark is compared", '""'),
            "case": Field(Flag(), "upper and lower case differ", "true"),
        },
        "json": {"keys": Field(ListOf(Text()), "names that the object should have", optional=True)},
    }
)


def fields(lr: str, train: str = "10k episodes") -> dict[str, Field]:
    """Who takes part, how long and how fast it trains."""
    return {
        "policy": Field(LM, "the model that is trained"),
        "reference": Field(
            LM, "the model KL is measured against; else the policy's start", optional=True
        ),
        "reward": Field(
            Either((Reference(("stage",), ("reward",)), FUNCTIONS)),
            "what scores replies: a reward model or a function",
        ),
        "prompts": Field(DATA, "what the policy is asked"),
        "weights": Field(weights(), "what trains", "full"),
        "train": Field(HowLong(("episodes", "steps", "epochs")), "how long it trains", train),
        "length": Field(
            Count(("tokens",)), "longest prompt; longer ones are left out", "1024 tokens"
        ),
        **optimisation(lr=lr, schedule="linear(warmup = 0 steps)"),
    }


def kl(coefficient: str) -> Field:
    """The leash."""
    held = {
        "coefficient": Field(
            Number(least=0), "weight of the KL penalty (beta) at the start", coefficient
        ),
        "target": Field(
            Number(above=0),
            "KL per reply in nats that the coefficient is steered to",
            optional=True,
        ),
        "horizon": Field(
            Count(("episodes",)), "how slowly the coefficient is steered", "10k episodes"
        ),
    }
    return Field(Group(held), "the leash")


def rollout(**defaults: str) -> Field:
    """How replies are sampled; `group` gives each prompt several."""
    sampled = {
        "batch": Field(Whole(least=1), "episodes sampled for each iteration", "512"),
        "reply": Field(Count(("tokens",)), "longest reply", "128 tokens"),
        "temperature": Field(Number(least=0, most=10), "sampling temperature", "0.7"),
        "epochs": Field(Whole(), "passes over each rollout", "4"),
        "minibatches": Field(Whole(), "updates a pass", "1"),
        "group": Field(Whole(), "replies to each prompt, compared with each other"),
    }
    chosen = {
        name: replace(each, default=defaults.get(name, each.default))
        for name, each in sampled.items()
    }
    if "group" not in defaults:
        del chosen["group"]
    return Field(Group(chosen), "how replies are sampled")


def scoring() -> dict[str, Field]:
    """What is done to a score before it is learnt from."""
    ended = {
        "no_end_of_text": Field(Number(), "added to the score of a reply that does not end", "-1.0")
    }
    return {
        "penalty": Field(Group(ended), "corrections of the score"),
        "clip_rewards": Field(Number(above=0), "scores are clipped to +- this", optional=True),
    }
