"""Full tuning: every weight of the model trains."""

from tunelang.recipe.schema import WeightsKind

WEIGHTS = WeightsKind("full", "every weight trains")
