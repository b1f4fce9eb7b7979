"""PPO: sample, score, and raise the score within a KL leash, with a value model.

Schulman et al. 2017 (arXiv 1707.06347); Ziegler et al. 2019 (arXiv 1909.08593); defaults as
Huang et al. 2024 (arXiv 2403.17031) where they differ; the pretraining mix of InstructGPT (arXiv
2203.02155), whose gamma is 27.8 (it reads eight texts an episode; ours are as many as written).
"""

from tunelang.methods import policy
from tunelang.recipe.schema import Count, Field, Flag, Group, Method, Number, Ratio, Reference

VALUE = {
    "lr": Field(Number(above=0, most=10), "learning rate of the value model", "1e-5"),
    "clip": Field(Number(above=0), "values move at most this far in an update", "0.2"),
    "coefficient": Field(Number(least=0), "weight of the value loss", "0.1"),
    "from": Field(
        Reference(("stage", "model"), ("lm", "reward")), "what it starts as", optional=True
    ),
}
PRETRAINING = {
    "data": Field(
        Reference(("data",)), "texts whose loss is mixed into every update", optional=True
    ),
    "coefficient": Field(Number(above=0), "weight of their mean loss per token (gamma)", "27.8"),
    "batch": Field(Count(("sequences",)), "texts that an update reads", "64 sequences"),
}

METHOD = Method(
    name="ppo",
    version=1,
    doc="reinforcement learning from a reward, with a value model and a KL leash",
    worker="tunelang.train.ppo",
    product="lm",
    fields={
        **policy.fields(lr="3e-6"),
        "kl": policy.kl("0.05"),
        "rollout": policy.rollout(),
        "clip": Field(
            Number(above=0, most=1), "the probability ratio is clipped to 1 +- this", "0.2"
        ),
        "gamma": Field(Ratio(), "discount per token", "100%"),
        "lambda": Field(Ratio(), "GAE's lambda", "95%"),
        "value": Field(Group(VALUE), "the value model"),
        **policy.scoring(),
        "whiten_rewards": Field(Flag(), "scale rewards to unit variance", "false"),
        "pretraining": Field(Group(PRETRAINING), "texts that keep the policy from forgetting"),
    },
    inputs=("policy", "reference", "reward"),
    data_field="prompts",
    formats=policy.FORMATS,
    noun="episodes",
    metrics=policy.METRICS,
    copies=("reference", "reward", "value"),
)
