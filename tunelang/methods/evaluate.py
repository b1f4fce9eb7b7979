"""Evaluate: what a model measures on rows, as a stage of its own that gates and people read.

Metrics of answers: `tunelang/train/text_metrics.py` names their papers.
"""

from dataclasses import replace

from tunelang.methods.generate import SAMPLING
from tunelang.methods.training import DATA, running
from tunelang.recipe.schema import Count, Field, Group, ListOf, Method, Reference, Symbol

# What each metric is taken of: products, formats of rows, and whether a judge is asked.
TOKENS = (("lm", "prompted"), ("text", "instruct", "chat", "labelled"), False)
ANSWERS = (("lm", "prompted"), ("instruct", "chat", "labelled"), False)
JUDGED = (("lm", "prompted"), ("instruct", "chat", "labelled", "prompt"), True)
NEEDS = {
    "loss": TOKENS,
    "perplexity": TOKENS,
    "token_accuracy": TOKENS,
    "exact_match": ANSWERS,
    "f1": ANSWERS,
    "rouge_l": ANSWERS,
    "mean_length": (*JUDGED[:2], False),
    "reward": JUDGED,
    "win_rate": JUDGED,
}
ANSWERED = ("exact_match", "f1", "rouge_l", "mean_length", "reward", "win_rate")
# What is taken where the recipe does not say, and of judges and classifiers always.
DEFAULTS = {
    "lm": ("loss", "perplexity", "token_accuracy"),
    "prompted": ("loss", "perplexity", "token_accuracy"),
    "reward": ("accuracy", "loss", "margin"),
    "classifier": ("accuracy", "loss", "macro_f1"),
}
ROWS_OF = {
    "lm": ("text", "instruct", "chat", "labelled", "prompt"),
    "prompted": ("text", "instruct", "chat", "labelled", "prompt"),
    "reward": ("preference", "ranking"),
    "classifier": ("labelled",),
}
# Greedy, so that a measurement is the same every time.
DRAWN = {
    **SAMPLING,
    "temperature": replace(SAMPLING["temperature"], default="0"),
    "reply": replace(SAMPLING["reply"], default="128 tokens"),
}
SPEAKS = Reference(("model", "stage"), ("lm", "prompted"))
MEASURED = Reference(("model", "stage"), ("lm", "prompted", "reward", "classifier"))

METHOD = Method(
    name="evaluate",
    version=1,
    doc="what a model measures on rows",
    worker="tunelang.train.evaluate_stage",
    product="metrics",
    fields={
        "model": Field(MEASURED, "what is measured"),
        "data": Field(DATA, "held-out rows of it; all rows where none are held out"),
        "metrics": Field(
            ListOf(Symbol(tuple(NEEDS))),
            "what is measured; else what needs no answer",
            optional=True,
        ),
        "judge": Field(
            Reference(("stage",), ("reward",)),
            "the reward model for `reward` and `win_rate`",
            optional=True,
        ),
        "versus": Field(
            SPEAKS, "whose answers `win_rate` compares with; else the rows' own", optional=True
        ),
        "sampling": Field(Group(DRAWN), "how answers are drawn"),
        "length": Field(
            Count(("tokens",)), "longest row in tokens; longer ones are cut", "1024 tokens"
        ),
        **running(),
    },
    inputs=("model", "judge", "versus"),
    data_field="data",
    formats=("text", "instruct", "chat", "prompt", "preference", "ranking", "labelled"),
    noun="sequences",
    metrics=(*NEEDS, "accuracy", "margin", "macro_f1"),
    trains=False,
)
