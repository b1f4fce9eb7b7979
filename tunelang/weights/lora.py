"""LoRA (Hu et al. 2021, arXiv 2106.09685): low-rank updates beside frozen weights."""

from tunelang.recipe.schema import (
    Either,
    Field,
    ListOf,
    Number,
    Ratio,
    Symbol,
    Text,
    WeightsKind,
    Whole,
)

FIELDS = {
    "rank": Field(Whole(least=1, most=4096), "columns of A and rows of B", "16"),
    "alpha": Field(Number(above=0), "the update is scaled by alpha / rank", "32"),
    # All linear layers, as the QLoRA paper and "LoRA Without Regret" find best.
    "targets": Field(
        Either((Symbol(("all_linear",)), ListOf(Text()))),
        "which linear layers get an adapter: all_linear, or a list of module names",
        "all_linear",
    ),
    "dropout": Field(Ratio(), "dropout before A while training", "0%"),
}

WEIGHTS = WeightsKind(
    "lora", "low-rank adapters beside frozen weights", FIELDS, adapter=True, like="lora"
)
