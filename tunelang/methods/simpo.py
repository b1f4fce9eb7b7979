"""SimPO: pairs ordered by their mean log-probability, without a reference.

Meng et al. 2024 (arXiv 2405.14734).
"""

from tunelang.methods.training import DATA, LM, fields
from tunelang.recipe.schema import Field, Method, Number

METHOD = Method(
    name="simpo",
    version=1,
    doc="the better of two replies becomes likelier a token, without a reference",
    worker="tunelang.train.ranking",
    product="lm",
    fields={
        "model": Field(LM, "the model to start from"),
        "data": Field(DATA, "preference pairs"),
        # Section 4 of the paper: batch 128, cosine with 10% warmup, lr 3e-7 to 1e-6.
        **fields("pairs", batch="128 pairs", lr="8e-7", schedule="cosine(warmup = 10%)"),
        # Its settings: beta 2 to 2.5, gamma over beta 0.3 to 0.8.
        "beta": Field(Number(above=0), "how sharp the comparison is", "2.0"),
        "gamma": Field(Number(least=0), "by how much the better reply should win", "1.0"),
    },
    inputs=("model",),
    data_field="data",
    formats=("preference",),
    noun="pairs",
    sequences=2,
    metrics=("accuracy", "margin", "loss"),
)
