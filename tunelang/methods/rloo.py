"""RLOO: REINFORCE on whole replies, each against the mean of the others to its prompt.

Ahmadian et al. 2024 (arXiv 2402.14740), groups of 4 as its RLOO_4; lr, KL weight, temperature and
clip as in TRL's trainer. Rollouts of 128 replies are ours.
"""

from tunelang.methods import policy
from tunelang.recipe.schema import Field, Method, Number

METHOD = Method(
    name="rloo",
    version=1,
    doc="REINFORCE with a leave-one-out baseline within groups of replies, without a value model",
    worker="tunelang.train.rloo",
    product="lm",
    fields={
        **policy.fields(lr="1e-6", train="10240 episodes"),
        "kl": policy.kl("0.05"),
        "rollout": policy.rollout(
            group="4", batch="128", temperature="1.0", epochs="1", reply="256 tokens"
        ),
        "clip": Field(
            Number(above=0, most=1), "the ratio of whole replies is clipped to 1 +- this", "0.2"
        ),
        **policy.scoring(),
    },
    inputs=("policy", "reference", "reward"),
    data_field="prompts",
    formats=policy.FORMATS,
    noun="episodes",
    metrics=policy.METRICS,
    copies=("reference", "reward"),
)
