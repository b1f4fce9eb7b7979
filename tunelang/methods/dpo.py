"""Direct preference optimisation: pairs of replies, without a reward model.

Rafailov et al. 2023 (arXiv 2305.18290); defaults of its reference code and of TRL.
"""

from tunelang.methods.preference import reference
from tunelang.methods.training import DATA, LM, fields
from tunelang.recipe.schema import Field, Flag, Method, Number

METHOD = Method(
    name="dpo",
    version=1,
    doc="the better of two replies becomes likelier, held to a reference",
    worker="tunelang.train.ranking",
    product="lm",
    fields={
        "model": Field(LM, "the model to start from"),
        "data": Field(DATA, "preference pairs"),
        # Batch 64, beta 0.1, lr 5e-7 with RMSprop: the reference code; 1e-6 with AdamW: TRL.
        **fields("pairs", batch="64 pairs", lr="1e-6", schedule="linear(warmup = 10%)"),
        **reference(),
        "beta": Field(Number(above=0), "how firmly it is held to the reference", "0.1"),
        "label_smoothing": Field(
            Number(least=0, most=0.5), "share of pairs taken to be the wrong way round", "0"
        ),
        "margin": Field(Flag(), "subtract the rows' margin column in the loss", "false"),
    },
    inputs=("model", "reference"),
    data_field="data",
    formats=("preference",),
    noun="pairs",
    sequences=2,
    metrics=("accuracy", "margin", "loss"),
)
