"""LoRA (Hu et al. 2021, arXiv 2106.09685): low-rank updates beside frozen weights."""

from tunelang.recipe.schema import (
    Either,
    Field,
    Flag,
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
    # Kalajdzievski 2023 (arXiv 2312.03732): with alpha / rank a large rank learns no faster.
    "rslora": Field(Flag(), "scale by alpha / sqrt(rank) instead", "false"),
    # Liu et al. 2024 (arXiv 2402.09353): the length of each row of W trains apart from where it
    # points.
    "dora": Field(Flag(), "train the length of every row beside its direction", "false"),
}

WEIGHTS = WeightsKind(
    "lora", "low-rank adapters beside frozen weights", FIELDS, adapter=True, like="lora"
)
