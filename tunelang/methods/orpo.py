"""ORPO: the likelihood of the better reply and the odds against the worse one, in one loss.

Hong et al. 2024 (arXiv 2403.07691).
"""

from tunelang.methods.training import DATA, LM, fields
from tunelang.recipe.schema import Field, Method, Number, Symbol

METHOD = Method(
    name="orpo",
    version=1,
    doc="sft on the better reply with an odds ratio against the worse, without a reference",
    worker="tunelang.train.ranking",
    product="lm",
    fields={
        "model": Field(LM, "the model to start from"),
        "data": Field(DATA, "preference pairs"),
        # The paper: lr 8e-6, 64 pairs, weight 0.1 (its lambda, TRL's beta).
        **fields("pairs", batch="64 pairs", lr="8e-6", schedule="linear(warmup = 10%)"),
        "lambda": Field(Number(least=0), "weight of the odds ratio", "0.1"),
        "sft_on": Field(
            Symbol(("reply", "all")),
            "tokens whose likelihood is raised; the authors' code takes the prompt too",
            "reply",
        ),
    },
    inputs=("model",),
    data_field="data",
    formats=("preference",),
    noun="pairs",
    sequences=2,
    metrics=("accuracy", "margin", "loss"),
)
