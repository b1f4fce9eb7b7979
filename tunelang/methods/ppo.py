"""PPO from a reward model: sample, score, and raise the score within a KL leash.

Schulman et al. 2017 (arXiv 1707.06347); Ziegler et al. 2019 (arXiv 1909.08593); defaults as
Huang et al. 2024 (arXiv 2403.17031) where they differ.
"""

from tunelang.methods.training import DATA, LM, optimisation, weights
from tunelang.recipe.schema import (
    ALL,
    Count,
    Field,
    Flag,
    Group,
    HowLong,
    Method,
    Number,
    Ratio,
    Reference,
    Whole,
)

KL = {
    "coefficient": Field(Number(least=0), "weight of the KL penalty (beta) at the start", "0.05"),
    "target": Field(
        Number(above=0), "KL per reply in nats that the coefficient is steered to", optional=True
    ),
    "horizon": Field(Count(("episodes",)), "how slowly the coefficient is steered", "10k episodes"),
}
ROLLOUT = {
    "batch": Field(Whole(least=1), "episodes sampled for each iteration", "512"),
    "reply": Field(Count(("tokens",)), "longest reply", "128 tokens"),
    "temperature": Field(Number(least=0, most=10), "sampling temperature", "0.7"),
    "epochs": Field(Whole(), "passes over each rollout", "4"),
    "minibatches": Field(Whole(), "updates a pass", "1"),
}
VALUE = {
    "lr": Field(Number(above=0, most=10), "learning rate of the value model", "1e-5"),
    "clip": Field(Number(above=0), "values move at most this far in an update", "0.2"),
    "coefficient": Field(Number(least=0), "weight of the value loss", "0.1"),
    "from": Field(
        Reference(("stage", "model"), ("lm", "reward")), "what it starts as", optional=True
    ),
}
PENALTY = {
    "no_end_of_text": Field(Number(), "added to the score of a reply that does not end", "-1.0")
}

METHOD = Method(
    name="ppo",
    version=1,
    doc="reinforcement learning from a reward model, with a value model and a KL leash",
    worker="tunelang.train.ppo",
    product="lm",
    fields={
        "policy": Field(LM, "the model that is trained"),
        "reference": Field(
            LM, "the model KL is measured against; else the policy's start", optional=True
        ),
        "reward": Field(Reference(("stage",), ("reward",)), "the reward model that scores replies"),
        "prompts": Field(DATA, "what the policy is asked"),
        "weights": Field(weights(), "what trains", "full"),
        "train": Field(
            HowLong(("episodes", "steps", "epochs")), "how long it trains", "10k episodes"
        ),
        "length": Field(
            Count(("tokens",)), "longest prompt; longer ones are left out", "1024 tokens"
        ),
        **optimisation(lr="3e-6", schedule="linear(warmup = 0 steps)"),
        "kl": Field(Group(KL), "the leash"),
        "rollout": Field(Group(ROLLOUT), "how replies are sampled"),
        "clip": Field(
            Number(above=0, most=1), "the probability ratio is clipped to 1 +- this", "0.2"
        ),
        "gamma": Field(Ratio(), "discount per token", "100%"),
        "lambda": Field(Ratio(), "GAE's lambda", "95%"),
        "value": Field(Group(VALUE), "the value model"),
        "penalty": Field(Group(PENALTY), "corrections of the score"),
        "clip_rewards": Field(
            Number(above=0), "scores are clipped to +- this", optional=True, later=ALL
        ),
        "whiten_rewards": Field(Flag(), "scale rewards to unit variance", "false"),
    },
    inputs=("policy", "reference", "reward"),
    data_field="prompts",
    formats=("prompt", "chat", "instruct"),
    noun="episodes",
    metrics=("reward", "kl", "mean_length", "win_rate"),
    copies=("reference", "reward", "value"),
)
