"""Rows written in the recipe itself."""

from tunelang.recipe.schema import Field, Rows, SourceKind

SOURCE = SourceKind(
    "inline", "rows written in the recipe", ("data",), {"rows": Field(Rows(), "the rows")}
)
