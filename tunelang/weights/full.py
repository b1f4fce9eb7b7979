"""Full tuning: every weight of the model trains."""

from tunelang.recipe.schema import Field, Symbol, WeightsKind

FIELDS = {
    "masters": Field(
        Symbol(("fp32", "none")),
        "what a step of the optimizer is added to: fp32 weights, or those of the precision",
        "fp32",
    )
}
WEIGHTS = WeightsKind("full", "every weight trains", FIELDS)
