"""Domain adaptation: continued pretraining on text, every token trained.

Gururangan et al. 2020, "Don't Stop Pretraining" (arXiv 2004.10964).
"""

from dataclasses import replace

from tunelang.methods.training import DATA, LM, PACKING, fields, supervised, tokens
from tunelang.recipe.schema import Field, Method, Ratio, Reference

METHOD = Method(
    name="domain_adaptation",
    version=1,
    doc="continued pretraining on text of a domain",
    worker="tunelang.train.sft",
    product="lm",
    fields={
        "model": Field(LM, "the model to start from"),
        "data": Field(DATA, "text of the domain"),
        **fields("sequences", lr="1e-5", schedule="cosine(warmup = 3%, floor = 10%)"),
        **supervised(),
        **tokens(),
        "packing": replace(PACKING, default="true"),
        # Ibrahim et al. 2024 (arXiv 2403.08763): 5% where the domain is near general text.
        "replay": Field(
            Reference(("data",)), "general text that is read among the domain's", optional=True
        ),
        "replay_share": Field(Ratio(most=0.9), "share of the rows that are general text", "5%"),
        "general": Field(
            Reference(("data",)),
            "general text that forgetting is measured on; else what is replayed",
            optional=True,
        ),
    },
    inputs=("model",),
    data_field="data",
    formats=("text",),
    noun="sequences",
    metrics=("loss", "perplexity", "general_perplexity", "forgetting"),
)
