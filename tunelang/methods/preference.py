"""The fields that methods of comparisons share: the reference, and how its word is had."""

from __future__ import annotations

from tunelang.methods.training import LM
from tunelang.recipe.schema import Field, Symbol

# Decided by `auto` from the recipe alone, and in the key through what the stage then reads.
LOG_PROBS = "reference_log_probs"


def reference() -> dict[str, Field]:
    """The model that replies are compared under, beside the one that trains."""
    return {
        "reference": Field(LM, "the model it is held to; else the stage's start", optional=True),
        LOG_PROBS: Field(
            Symbol(("auto", "precomputed", "live")),
            "the reference reads each reply once before the stage, or along with it",
            "auto",
            key=False,
        ),
    }
