"""Expert-specialised fine-tuning: of a mixture, only the experts that the task uses most train.

Wang et al. 2024 (arXiv 2407.01906); defaults are those of the authors' `configs/base.yaml`.
"""

from tunelang.methods.training import DATA, LM, PACKING, TEMPLATE, fields, weights
from tunelang.recipe.schema import Field, Method, Symbol

METHOD = Method(
    name="esft",
    version=1,
    doc="tuning of the experts that a task uses most",
    worker="tunelang.train.sft",
    product="lm",
    fields={
        "model": Field(LM, "the mixture of experts to start from"),
        "data": Field(DATA, "conversations, instructions or text"),
        **fields(
            "sequences",
            train="500 steps",
            batch="128 sequences",
            length="4096 tokens",
            lr="1e-5",
            schedule="constant(warmup = 0 steps)",
            weight_decay="0.1",
        ),
        "weights": Field(weights("experts"), "which experts train", "experts"),
        "template": TEMPLATE,
        "loss_on": Field(
            Symbol(("assistant", "last", "all")),
            "which tokens of conversations are trained: every reply, the last one, or everything",
            "assistant",
        ),
        "packing": PACKING,
    },
    inputs=("model",),
    data_field="data",
    formats=("chat", "instruct", "text"),
    noun="sequences",
    metrics=("loss", "token_accuracy", "perplexity", "template_loss", "template_accuracy"),
)
