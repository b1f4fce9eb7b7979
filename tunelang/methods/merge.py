"""Merge: what adapters learnt becomes part of whole weights, W + (alpha / r) B A.

LoRA: Hu et al. 2021 (arXiv 2106.09685), section 4.1. For a model trained over weights in few bits
it matters what is merged onto: QLoRA trains against the dequantised weights (Dettmers et al. 2023,
arXiv 2305.14314, equation 5), so only onto those is the sum what was trained.
"""

from tunelang.methods.training import running
from tunelang.recipe.schema import Field, Method, Reference, Symbol

METHOD = Method(
    name="merge",
    version=1,
    doc="the adapters of a stage made part of whole weights",
    worker="tunelang.train.merge",
    product="lm",
    fields={
        "model": Field(Reference(("stage",), ("lm",)), "the stage whose adapters are merged"),
        "onto": Field(
            Symbol(("dequantised", "original", "quantised")),
            "for a model trained over weights in few bits: the values they stand for, the weights "
            "they were made from, or, held in few bits again, the sum",
            "dequantised",
        ),
        **running(),
    },
    inputs=("model",),
    data_field="",
    formats=(),
    noun="sequences",
    metrics=(),
    trains=False,
)
