"""Chosen experts of a mixture (ESFT, Wang et al. 2024, arXiv 2407.01906): the rest is frozen."""

from tunelang.recipe.schema import Count, Field, Flag, Ratio, Symbol, Text, WeightsKind

FIELDS = {
    "score": Field(
        Symbol(("token", "gate")),
        "how an expert is scored: by the share of tokens sent to it, or by its mean gate weight",
        "token",
    ),
    # The paper's p, section 4.1.
    "mass": Field(
        Ratio(),
        "share of each layer's score that is kept; else 20% of token, 10% of gate",
        optional=True,
    ),
    # `--n_sample_tokens` of the authors' get_expert_scores.py.
    "sample": Field(
        Count(("tokens",)), "how much of the stage's own text is scored", "128Ki tokens"
    ),
    "config": Field(
        Text(),
        "a DeepSeek expert config (JSON) that names the experts; nothing is scored",
        optional=True,
    ),
    "shared": Field(Flag(), "shared experts, which see every token, train too", "false"),
    "router": Field(Flag(), "routers train too, which undoes the choice", "false"),
}

WEIGHTS = WeightsKind(
    "experts",
    "the experts that the stage's text uses most; all else is frozen",
    FIELDS,
    adapter=True,
    like="experts",
)
