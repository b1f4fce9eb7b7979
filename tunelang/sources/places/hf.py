"""The Hugging Face hub: model repositories and data sets, at a revision."""

from tunelang.recipe.schema import Either, Field, Flag, SourceKind, Symbol, Text

SOURCE = SourceKind(
    "hf",
    "a repository of the Hugging Face hub",
    ("model", "data"),
    {
        "id": Field(Text(), "owner/name"),
        "revision": Field(Text(), "commit, tag or branch; a commit cannot move", '"main"'),
        "split": Field(
            Either((Symbol(("train", "test", "validation")), Text())),
            'which split of a data set; others in quotes: "train[:10%]"',
            "train",
        ),
        "subset": Field(Text(), "which configuration of a data set", optional=True),
        "trust_code": Field(Flag(), "allow the repository's own Python code", "false"),
    },
)
