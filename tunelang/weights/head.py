"""Only the head trains: what reads the last hidden states. The layers below stay as they are."""

from tunelang.recipe.schema import WeightsKind

WEIGHTS = WeightsKind("head", "only what reads the last hidden states trains", like="lora")
