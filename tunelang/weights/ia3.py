"""(IA)^3 (Liu et al. 2022, arXiv 2205.05638): vectors scale keys, values and hidden units."""

from tunelang.recipe.schema import Either, Field, ListOf, Symbol, Text, WeightsKind

WEIGHTS = WeightsKind(
    "ia3",
    "vectors that scale keys, values and the feed-forward layer",
    {
        "targets": Field(
            Either((Symbol(("paper",)), ListOf(Text()))),
            "which linear layers are scaled: as in the paper, or a list of module names",
            "paper",
        ),
        "feedforward": Field(
            ListOf(Text()), "those of a list that are scaled before the layer", optional=True
        ),
    },
    adapter=True,
    like="lora",
)
