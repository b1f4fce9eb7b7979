"""GRPO: replies to one prompt are compared with each other; no value model.

Shao et al. 2024 (arXiv 2402.03300): lr, KL weight and one update a rollout from its section 4.2;
groups of 8 and temperature 1 as in TRL. It samples 1024 replies in groups of 64, we 128.
`scale = none` with `average = length` is Dr. GRPO (arXiv 2503.20783), `average = tokens` with
`clip.high = 0.28` DAPO's loss (arXiv 2503.14476).
"""

from tunelang.methods import policy
from tunelang.recipe.schema import Field, Group, Method, Number, Symbol

CLIP = {
    "low": Field(Number(above=0, most=1), "ratios are clipped below 1 - this", "0.2"),
    "high": Field(Number(above=0, most=1), "ratios are clipped above 1 + this", "0.2"),
}

METHOD = Method(
    name="grpo",
    version=1,
    doc="reinforcement learning from comparisons within groups of replies, without a value model",
    worker="tunelang.train.grpo",
    product="lm",
    fields={
        **policy.fields(lr="1e-6", train="10240 episodes"),
        "kl": policy.kl("0.04"),
        "rollout": policy.rollout(
            group="8", batch="128", temperature="1.0", epochs="1", reply="256 tokens"
        ),
        "scale": Field(
            Symbol(("group", "batch", "none")), "whose deviation divides advantages", "group"
        ),
        "average": Field(
            Symbol(("replies", "tokens", "length")), "what counts alike in the loss", "replies"
        ),
        "clip": Field(Group(CLIP), "bounds of the probability ratio"),
        **policy.scoring(),
    },
    inputs=("policy", "reference", "reward"),
    data_field="prompts",
    formats=policy.FORMATS,
    noun="episodes",
    metrics=policy.METRICS,
    copies=("reference", "reward"),
)
