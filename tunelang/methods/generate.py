"""Generate: a model answers prompts; its replies, scored or chosen, are rows for later stages.

Rejection by reward: best of n (Nakano et al. 2021, WebGPT, arXiv 2112.09332, section 2; Llama 2,
arXiv 2307.09288, section 3.2.3). Nucleus sampling: Holtzman et al. 2020 (arXiv 1904.09751).
"""

from collections.abc import Callable
from typing import Any

from tunelang.methods.training import DATA, running
from tunelang.recipe.schema import (
    Count,
    Either,
    Field,
    Flag,
    Group,
    MadeRows,
    Method,
    Number,
    Ratio,
    Reference,
    Variant,
    Whole,
)

SAMPLING = {
    "temperature": Field(Number(least=0, most=10), "0 takes the likeliest token", "1.0"),
    "top_p": Field(Ratio(), "the likeliest tokens that hold this much probability", "100%"),
    "top_k": Field(Whole(), "this many of the likeliest tokens; else all", optional=True),
    "reply": Field(Count(("tokens",)), "longest reply", "256 tokens"),
}
KEEP = Variant(
    {
        "all": {},
        "best": {"count": Field(Whole(), "how many of the best replies to a prompt", "1")},
        "above": {"score": Field(Number(), "the score that a reply must exceed")},
        "extremes": {},
    }
)
COLUMNS = {
    "instruct": ("prompt", "reply"),
    "preference": ("prompt", "chosen", "rejected", "margin"),
    "ranking": ("prompt", "replies"),
}


def rows(value: Callable[[str], Any]) -> MadeRows:
    """The rows that are made, by what is kept: decided before anything is sampled."""
    keep = value("keep")
    kind, several = keep.name, value("replies") > 1
    if kind == "extremes":
        return _made("preference")
    if kind == "above":
        return _made("instruct", None)
    if kind == "best":
        several = keep.get("count") > 1
    if not several:
        return _made("instruct")
    scored = ("scores",) if value("reward") else ()
    return _made("ranking", 1, *scored)


def _made(format: str, each: int | None = 1, *more: str) -> MadeRows:
    return MadeRows(format, {name: name for name in (*COLUMNS[format], *more)}, each)


METHOD = Method(
    name="generate",
    version=1,
    doc="replies of a model to prompts, as rows for later stages",
    worker="tunelang.train.generate_stage",
    product="data",
    fields={
        "model": Field(Reference(("model", "stage"), ("lm", "prompted")), "the model that replies"),
        "prompts": Field(DATA, "what it is asked; held-out rows are left alone"),
        "reward": Field(
            Reference(("stage",), ("reward",)),
            "the reward model that scores replies",
            optional=True,
        ),
        "replies": Field(Whole(), "replies to each prompt", "1"),
        "sampling": Field(Group(SAMPLING), "how replies are drawn"),
        "keep": Field(KEEP, "which replies become rows, by their scores", "all"),
        "drop_unfinished": Field(
            Flag(), "leave out replies that did not end within `reply`", "false"
        ),
        "length": Field(
            Count(("tokens",)), "longest prompt; longer ones are left out", "1024 tokens"
        ),
        "hold_out": Field(
            Either((Ratio(), Count(("rows",)))),
            "rows that later stages set aside to measure on",
            optional=True,
            key=False,
        ),
        "limit": Field(
            Count(("rows",)), "later stages use the first rows only", optional=True, key=False
        ),
        **running(),
    },
    inputs=("model", "reward"),
    data_field="prompts",
    formats=("prompt", "chat", "instruct"),
    noun="prompts",
    metrics=("reward", "mean_length"),
    trains=False,
    rows=rows,
)
