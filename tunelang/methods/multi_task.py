"""Multi-task learning: the tasks of a mix trained as one, each measured on its own.

T5 (Raffel et al. 2020, arXiv 1910.10683 section 3.5); FLAN (Wei et al. 2021, arXiv 2109.01652);
DoReMi (Xie et al. 2023, arXiv 2305.10429).
"""

from tunelang.methods.training import DATA, LM, PACKING, TEMPLATE, fields, supervised, tokens
from tunelang.recipe.schema import (
    Field,
    HowLong,
    ListOf,
    Method,
    Number,
    Reference,
    Symbol,
    Variant,
)

# arXiv 2305.10429 section 2: step size 1, smoothing 1e-4. The released code trains reference and
# proxy for as long as the main model; here that is the user's to say.
DOREMI = {
    "train": Field(HowLong(("steps", "ratio")), "updates of the reference and the proxy", "20%"),
    "eta": Field(Number(above=0), "step size of the weights", "1"),
    "smoothing": Field(Number(least=0, most=1), "share of every weight that is uniform", "1e-4"),
}

METHOD = Method(
    name="multi_task",
    version=1,
    doc="the tasks of a mix trained as one, each measured on its own",
    worker="tunelang.train.multi_task",
    product="lm",
    fields={
        "model": Field(LM, "the model to start from"),
        "data": Field(DATA, "a mix: each of its parts is a task"),
        **fields("sequences"),
        **supervised(),
        **tokens(),
        "hold_out_tasks": Field(
            ListOf(Reference(("data",))), "tasks that are measured and never trained", optional=True
        ),
        "shares": Field(
            Variant({"mix": {}, "doremi": DOREMI}),
            "shares as the mix says, or found by distributionally robust training",
            "mix",
        ),
        "template": TEMPLATE,
        "loss_on": Field(
            Symbol(("assistant", "last", "all")),
            "which tokens are trained: every reply, the last one, or everything",
            "assistant",
        ),
        "packing": PACKING,
    },
    inputs=("model",),
    data_field="data",
    formats=("chat", "instruct", "labelled"),
    noun="sequences",
    metrics=("loss", "token_accuracy", "perplexity", "template_loss", "template_accuracy"),
)
