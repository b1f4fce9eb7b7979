"""A file inside an installed Python package: a model that pip can install."""

from tunelang.recipe.schema import Field, SourceKind, Text

SOURCE = SourceKind(
    "package",
    "a file inside an installed Python package",
    ("model",),
    {
        "package": Field(Text(), "name of the package as it is imported"),
        "file": Field(Text(), "path of the file inside the package"),
    },
)
