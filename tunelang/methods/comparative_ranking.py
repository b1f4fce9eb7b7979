"""Comparative ranking: learning from the order of any number of replies to one prompt.

The losses are those of Plackett-Luce (DPO, arXiv 2305.18290, appendix A.3), RRHF (arXiv
2304.05302), PRO (arXiv 2306.17492), LiPO (arXiv 2402.01878), InstructGPT's pairs of a list (arXiv
2203.02155) with DPO's score, and SLiC-HF (arXiv 2305.10425).
"""

from tunelang.methods.preference import reference
from tunelang.methods.training import DATA, LM, fields
from tunelang.recipe.schema import (
    Field,
    Method,
    Number,
    Reference,
    Symbol,
    Variant,
    Whole,
)

BETA = Field(Number(above=0), "how firmly it is held to the reference", "0.1")


def likelihood(weight: str) -> Field:
    return Field(Number(least=0), "weight of the likelihood of the best reply", weight)


LOSS = Variant(
    {
        "plackett_luce": {"beta": BETA},
        # train.sh of RRHF: length_penalty 1.0, rrhf_weight 1.
        "rrhf": {
            "length_penalty": Field(
                Number(least=0), "log-probabilities are over length to this power", "1.0"
            ),
            "sft_weight": likelihood("1.0"),
        },
        # PRO's run scripts: sft_weight 0.05, times (K - 1)^2 in its code.
        "pro": {
            "sft_weight": likelihood("0.05"),
            "temperature": Field(
                Symbol(("gaps", "one")), "by how far scores lie apart, or all alike", "gaps"
            ),
        },
        "lipo": {
            "beta": BETA,
            "labels": Field(
                Symbol(("unit", "given")), "scores brought to 0 to 1 a list, or as given", "unit"
            ),
        },
        "dpo_all_pairs": {"beta": BETA},
        # The margin of the hinge is 1 as in support vector machines; the weight is ours.
        "slic": {
            "margin": Field(Number(above=0), "by how many nats the better reply should win", "1.0"),
            "sft_weight": likelihood("0.1"),
        },
    }
)
# Losses that read log pi itself.
WITHOUT_REFERENCE = ("rrhf", "pro", "slic")

METHOD = Method(
    name="comparative_ranking",
    version=1,
    doc="replies of any number are put in their order, best first",
    worker="tunelang.train.ranking",
    product="lm",
    fields={
        "model": Field(LM, "the model to start from"),
        "data": Field(DATA, "ranked replies, or preference pairs"),
        # lr 5e-6: PRO. Batch and warmup as dpo.
        **fields("lists", batch="32 lists", lr="5e-6", schedule="cosine(warmup = 10%)"),
        "loss": Field(LOSS, "what an order is worth", "plackett_luce"),
        **reference(),
        "reward": Field(
            Reference(("stage",), ("reward",)),
            "the reward model that orders replies which have no order of their own",
            optional=True,
        ),
        "candidates": Field(
            Whole(), "at most so many replies of a row; the best and the worst stay", optional=True
        ),
    },
    inputs=("model", "reference", "reward"),
    data_field="data",
    formats=("ranking", "preference"),
    noun="lists",
    sequences=4,  # the K of most ranked data: InstructGPT ranks 4 to 9
    metrics=("accuracy", "kendall_tau", "margin", "loss"),
)
