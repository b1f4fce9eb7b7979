"""Reward modeling: a scalar head learns which of two replies people prefer.

Bradley-Terry loss of Ziegler et al. 2019 (arXiv 1909.08593) and InstructGPT (arXiv 2203.02155).
"""

from tunelang.methods.training import DATA, LM, fields
from tunelang.recipe.schema import Field, Flag, Method, Number

METHOD = Method(
    name="reward_modeling",
    version=1,
    doc="a scalar score learnt from pairs of replies",
    worker="tunelang.train.reward",
    product="reward",
    fields={
        "model": Field(LM, "the model to start from"),
        "data": Field(DATA, "preference pairs"),
        # InstructGPT: one epoch, lr 9e-6, 64 prompts a batch.
        **fields("pairs", lr="9e-6", batch="64 pairs"),
        "margin": Field(Flag(), "subtract the rows' margin column in the loss", "false"),
        # 0.01 is the coefficient TRL's documentation recommends.
        "center": Field(Number(least=0), "weight of the mean squared sum of scores", "0.01"),
    },
    inputs=("model",),
    data_field="data",
    formats=("preference",),
    noun="pairs",
    sequences=2,
    metrics=("accuracy", "loss", "margin"),
)
