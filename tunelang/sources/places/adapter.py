"""A LoRA adapter of a folder, laid over the model it was trained beside."""

from tunelang.recipe.schema import Field, Reference, SourceKind, Text

SOURCE = SourceKind(
    "adapter",
    "an adapter in PEFT's layout, over its base",
    ("model",),
    {
        "folder": Field(Text(), "folder with adapter_config.json, relative to the recipe"),
        "base": Field(Reference(("model",)), "the model it was trained beside"),
    },
)
