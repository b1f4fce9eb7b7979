"""Local files: rows of data, a model folder, or a GGUF file."""

from tunelang.recipe.schema import Field, SourceKind, Text

SOURCE = SourceKind(
    "files",
    "local files, or a local model folder",
    ("model", "data"),
    {"glob": Field(Text(), "path or pattern, relative to the recipe")},
)
