"""Instruction tuning: conversations through the chat template, loss on the assistant's turns.

FLAN (Wei et al. 2021, arXiv 2109.01652); InstructGPT step 1 (arXiv 2203.02155).
"""

from tunelang.methods.training import DATA, LM, PACKING, TEMPLATE, fields, supervised, tokens
from tunelang.recipe.schema import Field, Method, Symbol

METHOD = Method(
    name="instruction_tuning",
    version=1,
    doc="supervised fine-tuning on conversations, assistant turns only",
    worker="tunelang.train.sft",
    product="lm",
    fields={
        "model": Field(LM, "the model to start from"),
        "data": Field(DATA, "conversations"),
        **fields("sequences"),
        **supervised(),
        **tokens(),
        "template": TEMPLATE,
        "loss_on": Field(
            Symbol(("assistant", "last", "all")),
            "which tokens are trained: every reply, the last one, or everything",
            "assistant",
        ),
        "packing": PACKING,
    },
    inputs=("model",),
    data_field="data",
    formats=("chat", "instruct", "labelled"),
    noun="sequences",
    metrics=("loss", "token_accuracy", "perplexity", "template_loss", "template_accuracy"),
)
