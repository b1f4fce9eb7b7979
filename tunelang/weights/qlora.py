"""QLoRA (Dettmers et al. 2023, arXiv 2305.14314): LoRA over a base held in 4 or 8 bits."""

from tunelang.recipe.schema import Field, Flag, Symbol, WeightsKind, Whole
from tunelang.weights.lora import FIELDS

# The defaults are the paper's: NF4 with its constants quantised once more.
HELD = {
    "bits": Field(Whole(least=2, most=16), "bits of a resting weight: 4, or 8 as integers", "4"),
    "type": Field(Symbol(("nf4", "fp4")), "4-bit numbers: NormalFloat or floating point", "nf4"),
    "double_quant": Field(
        Flag(), "constants of 4-bit blocks are quantised too: 0.37 bits a weight less", "true"
    ),
    "compute": Field(
        Symbol(("bf16", "fp32")),
        "number format that 4-bit weights are turned into to compute; else the stage's precision",
        optional=True,
    ),
}

WEIGHTS = WeightsKind(
    "qlora",
    "adapters over a base held in 4 or 8 bits",
    {**FIELDS, **HELD},
    adapter=True,
    like="qlora",
)
