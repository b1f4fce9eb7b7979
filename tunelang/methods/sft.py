"""Supervised fine-tuning on prompt -> reply rows, without a chat template.

InstructGPT step 1 (Ouyang et al. 2022, arXiv 2203.02155).
"""

from tunelang.methods.training import DATA, LM, PACKING, fields, supervised, tokens
from tunelang.recipe.schema import Field, Method, Symbol

METHOD = Method(
    name="sft",
    version=1,
    doc="supervised fine-tuning on prompts and replies, no chat template",
    worker="tunelang.train.sft",
    product="lm",
    fields={
        "model": Field(LM, "the model to start from"),
        "data": Field(DATA, "prompts with their replies"),
        **fields("sequences"),
        **supervised(),
        **tokens(),
        "loss_on": Field(Symbol(("reply", "all")), "which tokens are trained", "reply"),
        "packing": PACKING,
    },
    inputs=("model",),
    data_field="data",
    formats=("instruct",),
    noun="sequences",
    metrics=("loss", "token_accuracy", "perplexity", "template_loss", "template_accuracy"),
)
