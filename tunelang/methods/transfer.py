"""Transfer: a new head or vocabulary on a body that has learnt before, unfrozen by a schedule.

ULMFiT (Howard and Ruder 2018, arXiv 1801.06146); linear probing first (Kumar et al. 2022, arXiv
2202.10054); L2-SP (Li et al. 2018, arXiv 1802.01483).
"""

from tunelang.methods.training import DATA, LM, fields, weights
from tunelang.recipe.schema import Field, Group, HowLong, Method, Number, Symbol, Variant

# A rate below it moves nothing: half the distance of fp32 numbers near 0.02, the size of a weight.
FAINT = 1e-9
HEADS = {
    "classes": {
        # ULMFiT, section 3.3: the last state, the largest and the mean, side by side.
        "pooling": Field(
            Symbol(("concat", "last", "mean")), "how states become one vector", "concat"
        )
    },
    "lm": {},
}
EVERY = Field(HowLong(("epochs", "steps", "ratio")), "when one more group trains", "1 epoch")
L2_SP = {
    "alpha": Field(Number(least=0), "weight of the squared way from the start, halved", "0"),
    # Li et al. keep beta at 0.01 throughout, section 4.2.
    "beta": Field(Number(least=0), "weight of the new head's squared size, halved", "0.01"),
}

METHOD = Method(
    name="transfer",
    version=1,
    doc="a new head or vocabulary on a model that has learnt before, unfrozen by a schedule",
    worker="tunelang.train.transfer",
    product="classifier",
    fields={
        "model": Field(LM, "the model whose body is used"),
        "tokenizer": Field(
            LM, "the model whose vocabulary it speaks from now on; else its own", optional=True
        ),
        "data": Field(DATA, "labelled rows for classes; text or instruct rows for lm"),
        "head": Field(Variant(HEADS), "what reads the last hidden states", "classes"),
        **fields("sequences", schedule="slanted_triangular"),
        "weights": Field(weights("full", "layers", "head", "lora"), "what trains", "full"),
        "probe": Field(
            HowLong(("steps", "ratio", "epochs"), none=True),
            "so long only the head trains",
            "0 steps",
        ),
        "unfreeze": Field(
            Variant({"none": {}, "gradual": {"every": EVERY}}),
            "what trains trains at once, or the last group first and one more at a time",
            "none",
        ),
        "discriminative": Field(
            Number(least=1, most=100),
            "each group's rate is the one's above it divided by this; 1 is the same for all",
            "2.6",
        ),
        "l2_sp": Field(Group(L2_SP), "weights are held near where they started"),
    },
    inputs=("model", "tokenizer"),
    data_field="data",
    formats=("labelled", "text", "instruct"),
    noun="sequences",
    metrics=("accuracy", "loss", "macro_f1", "perplexity", "token_accuracy"),
    decides="head",
    products={"classes": "classifier", "lm": "lm"},
)
