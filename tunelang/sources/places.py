"""Where models and data come from, and the formats of data: the variants a recipe may write."""

from __future__ import annotations

from tunelang.recipe.schema import Field, Flag, ListOf, Rows, SourceKind, Symbol, Text, Whole

REVISION = Field(Text(), "commit, tag or branch; a commit cannot move", '"main"')

SOURCES = (
    SourceKind(
        "hf",
        "a repository of the Hugging Face hub",
        ("model", "data"),
        {
            "id": Field(Text(), "owner/name"),
            "revision": REVISION,
            "split": Field(Text(), "which split of a data set", '"train"'),
            "subset": Field(Text(), "which configuration of a data set", optional=True),
            "trust_code": Field(Flag(), "allow the repository's own Python code", "false"),
        },
    ),
    SourceKind(
        "files",
        "local files, or a local model folder",
        ("model", "data"),
        {"glob": Field(Text(), "path or pattern, relative to the recipe")},
    ),
    SourceKind(
        "inline", "rows written in the recipe", ("data",), {"rows": Field(Rows(), "the rows")}
    ),
    SourceKind(
        "package",
        "a file inside an installed Python package",
        ("model",),
        {
            "package": Field(Text(), "name of the package as it is imported"),
            "file": Field(Text(), "path of the file inside the package"),
        },
    ),
    SourceKind(
        "scratch",
        "random weights, for teaching and tests",
        ("model",),
        {
            "architecture": Field(Symbol(("llama",)), "which architecture", "llama"),
            "tokenizer": Field(
                ListOf(Text()), "text files a byte-level BPE tokenizer is trained on"
            ),
            "hidden": Field(Whole(least=8), "width of the model", "64"),
            "layers": Field(Whole(), "transformer layers", "2"),
            "heads": Field(Whole(), "attention heads", "4"),
            "kv_heads": Field(Whole(), "key and value heads", "2"),
            "ffn": Field(Whole(), "width of the feed-forward layers", "128"),
            "vocabulary": Field(Whole(least=300), "tokens of the vocabulary", "384"),
            "positions": Field(Whole(), "longest sequence", "512"),
            "seed": Field(Whole(least=0), "seed of the weights", "0"),
        },
    ),
)


def _column(role: str, default: str | None = None) -> Field:
    text = None if default is None else f'"{default}"'
    return Field(Text(), f"column that holds the {role}", text, optional=default is None)


FORMATS = {
    "text": {"field": _column("text", "text")},
    "instruct": {
        "prompt": _column("prompt", "prompt"),
        "reply": _column("reply", "reply"),
        "system": _column("system message"),
        "input": _column("input that follows the prompt"),
    },
    "chat": {"messages": _column("messages", "messages")},
    "preference": {
        "prompt": _column("prompt", "prompt"),
        "chosen": _column("better reply", "chosen"),
        "rejected": _column("worse reply", "rejected"),
        "margin": _column("margin between the two"),
    },
    "ranking": {
        "prompt": _column("prompt", "prompt"),
        "replies": _column("list of replies", "replies"),
        "ranks": _column("list of ranks"),
        "scores": _column("list of scores"),
    },
    "feedback": {
        "prompt": _column("prompt", "prompt"),
        "reply": _column("reply", "reply"),
        "good": _column("judgement", "good"),
    },
    "prompt": {"field": _column("prompt", "prompt")},
    "labelled": {"text": _column("text", "text"), "label": _column("label", "label")},
}
