"""Few-shot learning, three ways: exemplars in the prompt, T-Few's losses, SetFit's pairs.

In context: Brown et al. 2020 (arXiv 2005.14165). Tuned: Liu et al. 2022 (arXiv 2205.05638).
Contrastive: Tunstall et al. 2022 (arXiv 2209.11055).
"""

from dataclasses import replace

from tunelang.methods.training import DATA, LM, fields, running, vocabulary, weights
from tunelang.recipe.schema import (
    Count,
    Field,
    HowLong,
    ListOf,
    Method,
    Number,
    Ratio,
    Symbol,
    Text,
    Variant,
    Whole,
)

BY_MEANING = ("nearest", "diverse")  # the ways to select that compare embeddings
ASKED = {
    # RAFT (Alex et al. 2021, arXiv 2109.14076), on which T-Few was measured, asks in this form.
    "pattern": Field(Text(), "how a labelled text is asked", '"{text}\\nLabel:"'),
    "words": Field(
        ListOf(Text()), "the word for each label, in sorted order; else the label", optional=True
    ),
}
IN_CONTEXT = {
    "select": Field(
        Symbol(("random", "balanced", "nearest", "bm25", "diverse")),
        "how exemplars are chosen for each question",
        "random",
    ),
    "shots": Field(Whole(least=1), "exemplars before a question; fewer where they do not fit", "8"),
    "order": Field(
        Symbol(("best_last", "best_first", "rows")), "how they stand in the prompt", "best_last"
    ),
    "separator": Field(Text(), "between exemplars in plain text", '"\\n\\n"'),
    # Carbonell and Goldstein 1998 vary it from 0 to 1; the middle weighs both alike.
    "share": Field(Ratio(), "of nearness against variety, for diverse", "50%"),
    **ASKED,
}
TUNED = {
    **ASKED,
    # The paper adds the three losses as they are.
    "unlikelihood": Field(Number(least=0), "weight of the loss on wrong choices", "1"),
    "length_normalised": Field(Number(least=0), "weight of the loss over whole choices", "1"),
}
CONTRASTIVE = {
    # SetFit's default sampling_strategy.
    "pairs": Field(
        Symbol(("oversampling", "unique")),
        "like and unlike pairs in turn, or every pair once",
        "oversampling",
    ),
}
MODE = Field(
    Variant({"in_context": IN_CONTEXT, "tuned": TUNED, "contrastive": CONTRASTIVE}),
    "exemplars in the prompt, tuning on choices, or a classifier from pairs",
)

SHARED = {
    "model": Field(LM, "the model to start from"),
    "data": Field(DATA, "the few rows"),
    "mode": MODE,
}
LENGTH = Field(Count(("tokens",)), "longest prompt in tokens, exemplars included", "1024 tokens")


def training(noun: str, **defaults: str) -> dict[str, Field]:
    """The shared fields of training, without changes to the vocabulary."""
    left_out = vocabulary()
    shared = fields(noun, **defaults)
    return {name: field for name, field in shared.items() if name not in left_out}


def method(mode: str, worker: str, **more: object) -> Method:
    """What few_shot is in one of its modes."""
    fixed: dict[str, object] = {
        "name": "few_shot",
        "mode": mode,
        "version": 1,
        "doc": "learning from a handful of rows: in the prompt, by tuning, or by contrast",
        "worker": f"tunelang.train.{worker}",
        "inputs": ("model",),
        "data_field": "data",
        "noun": "sequences",
    }
    return Method(**{**fixed, **more})  # type: ignore[arg-type]


PROMPTED = method(
    "in_context",
    "few_shot",
    product="prompted",
    fields={
        **SHARED,
        "embedding": Field(
            LM, "the model that compares questions, for nearest and diverse", optional=True
        ),
        "length": LENGTH,
        **running(),
    },
    inputs=("model", "embedding"),
    formats=("labelled", "instruct", "choices"),
    metrics=("accuracy", "loss", "perplexity", "token_accuracy"),
    trains=False,
)

# r-three/t-few, configs/t011b.json and ia3.json: 1000 steps of 8 rows at 3e-3, linear decay after
# a warmup of 6%. Adafactor there, AdamW here.
TFEW = {
    **training(
        "sequences",
        train="1000 steps",
        batch="8 sequences",
        lr="3e-3",
        schedule="linear(warmup = 6%)",
    ),
    "weights": Field(weights("ia3", "lora", "qlora", "full"), "what trains", "ia3"),
}
CHOSEN = method(
    "tuned",
    "tfew",
    product="lm",
    fields={**SHARED, **TFEW},
    formats=("choices", "labelled", "instruct"),
    metrics=("accuracy", "loss", "perplexity", "token_accuracy"),
)

# SetFit's training_args.py: 16 pairs at 2e-5; sentence-transformers decays linearly after a warmup
# of 10%. The paper draws R = 20 like and 20 unlike pairs for each row: 40 of our epochs.
SETFIT = {
    **training("pairs", batch="16 pairs", lr="2e-5", schedule="linear(warmup = 10%)"),
    "weights": Field(weights("full", "lora", "ia3"), "what trains", "full"),
    "train": Field(
        HowLong(("epochs", "steps")),
        "how long it trains; an epoch draws as many pairs as there are rows",
        "40 epochs",
    ),
}
CONTRASTED = method(
    "contrastive",
    "contrastive",
    product="classifier",
    fields={**SHARED, **SETFIT},
    formats=("labelled",),
    metrics=("accuracy", "loss", "macro_f1"),
    noun="pairs",
    sequences=2,
)

METHOD = replace(
    CHOSEN,
    fields={**PROMPTED.fields, **CHOSEN.fields},
    inputs=PROMPTED.inputs,
    formats=PROMPTED.formats,
    mode="",
    decides="mode",
    products={each.mode: each.product for each in (PROMPTED, CHOSEN, CONTRASTED)},
    modes={each.mode: each for each in (PROMPTED, CHOSEN, CONTRASTED)},
)
