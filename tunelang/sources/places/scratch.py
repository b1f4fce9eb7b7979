"""Random weights of an architecture, for teaching and tests."""

from tunelang.recipe.schema import Field, ListOf, SourceKind, Symbol, Text, Whole

DENSE = ("llama",)
MIXTURES = ("mixtral", "qwen2_moe", "qwen3_moe", "olmoe", "deepseek_v2", "deepseek_v3")

SOURCE = SourceKind(
    "scratch",
    "random weights, for teaching and tests",
    ("model",),
    {
        "architecture": Field(Symbol((*DENSE, *MIXTURES)), "which architecture", "llama"),
        "tokenizer": Field(ListOf(Text()), "text files a byte-level BPE tokenizer is trained on"),
        "hidden": Field(Whole(least=8), "width of the model", "64"),
        "layers": Field(Whole(), "transformer layers", "2"),
        "heads": Field(Whole(), "attention heads", "4"),
        "kv_heads": Field(Whole(), "key and value heads", "2"),
        "ffn": Field(
            Whole(), "width of the feed-forward layers, of each expert's in a mixture", "128"
        ),
        "experts": Field(
            Whole(least=2), "routed experts of each layer of a mixture; else 8", optional=True
        ),
        "active": Field(Whole(), "experts that see each token in a mixture; else 2", optional=True),
        "vocabulary": Field(Whole(least=300), "tokens of the vocabulary", "384"),
        "positions": Field(Whole(), "longest sequence", "512"),
        "seed": Field(Whole(least=0), "seed of the weights", "0"),
    },
)
