"""QLoRA (Dettmers et al. 2023, arXiv 2305.14314): LoRA over a base held in 4-bit NF4."""

from tunelang.recipe.schema import WeightsKind
from tunelang.weights.lora import FIELDS

WEIGHTS = WeightsKind(
    "qlora", "adapters over a base held in 4-bit NF4", FIELDS, adapter=True, like="qlora"
)
