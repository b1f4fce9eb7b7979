"""KTO: single replies that are good or bad, weighed as people weigh gains and losses.

Ethayarajh et al. 2024 (arXiv 2402.01306).
"""

from tunelang.methods.preference import reference
from tunelang.methods.training import DATA, LM, fields
from tunelang.recipe.schema import Field, Method, Number

METHOD = Method(
    name="kto",
    version=1,
    doc="replies that are good become likelier and bad ones less so, held to a reference",
    worker="tunelang.train.kto",
    product="lm",
    fields={
        "model": Field(LM, "the model to start from"),
        "data": Field(DATA, "replies with a judgement each"),
        # Section 4.3 of the paper: beta 0.1; TRL: lr 1e-6.
        **fields("sequences", batch="64 sequences", lr="1e-6", schedule="linear(warmup = 10%)"),
        **reference(),
        "beta": Field(Number(above=0), "how firmly it is held to the reference", "0.1"),
        "desirable": Field(Number(least=0), "what a good reply weighs", "1.0"),
        "undesirable": Field(Number(least=0), "what a bad reply weighs", "1.0"),
    },
    inputs=("model", "reference"),
    data_field="data",
    formats=("feedback",),
    noun="sequences",
    metrics=("accuracy", "margin", "kl", "loss"),
)
