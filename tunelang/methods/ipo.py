"""Identity preference optimisation: pairs are parted by a fixed distance and no further.

Azar et al. 2023 (arXiv 2310.12036).
"""

from tunelang.methods.preference import reference
from tunelang.methods.training import DATA, LM, fields
from tunelang.recipe.schema import Field, Method, Number

METHOD = Method(
    name="ipo",
    version=1,
    doc="two replies are parted by 1/(2 beta) nats a token, held to a reference",
    worker="tunelang.train.ranking",
    product="lm",
    fields={
        "model": Field(LM, "the model to start from"),
        "data": Field(DATA, "preference pairs"),
        # As dpo; the paper tunes beta (its tau) between 0.1 and 1, TRL takes 0.1.
        **fields("pairs", batch="64 pairs", lr="1e-6", schedule="linear(warmup = 10%)"),
        **reference(),
        "beta": Field(Number(above=0), "how firmly it is held to the reference (tau)", "0.1"),
    },
    inputs=("model", "reference"),
    data_field="data",
    formats=("preference",),
    noun="pairs",
    sequences=2,
    metrics=("accuracy", "margin", "loss"),
)
