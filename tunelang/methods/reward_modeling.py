"""Reward modeling: a scalar head learns which of several replies people prefer.

Bradley-Terry loss over pairs and lists: Ziegler et al. 2019 (arXiv 1909.08593), InstructGPT (arXiv
2203.02155).
"""

from tunelang.methods.training import DATA, LM, fields
from tunelang.recipe.schema import Count, Field, Flag, Method, Number, Symbol

METHOD = Method(
    name="reward_modeling",
    version=2,
    doc="a scalar score learnt from pairs or ranked lists of replies",
    worker="tunelang.train.reward",
    product="reward",
    fields={
        "model": Field(LM, "the model to start from"),
        "data": Field(DATA, "preference pairs or ranked lists"),
        # InstructGPT: one epoch, lr 9e-6, 64 prompts a batch.
        **fields("pairs", lr="9e-6"),
        "batch": Field(
            Count(("pairs", "lists", "sequences", "tokens")), "what one update sees", "64 pairs"
        ),
        "loss": Field(
            Symbol(("pairs", "best_of")),
            "every ordered pair of a list, or a softmax that picks its best reply",
            "pairs",
        ),
        "margin": Field(Flag(), "subtract the rows' margin column in the loss", "false"),
        # 0.01 is the coefficient TRL's documentation recommends.
        "center": Field(Number(least=0), "weight of the mean squared sum of scores", "0.01"),
        "normalize": Field(
            Symbol(("mean", "mean_and_variance")),
            "preferred replies score 0 on average, or all have mean 0 and variance 1",
            "mean",
        ),
    },
    inputs=("model",),
    data_field="data",
    formats=("preference", "ranking"),
    noun="pairs",
    sequences=2,
    metrics=(
        "accuracy",
        "loss",
        "margin",
        "calibration_error",
        "length_correlation",
        "shorter_accuracy",
        "longer_accuracy",
    ),
)
