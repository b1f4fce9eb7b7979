"""What a tokenizer says of itself: its chat template, its end mark, the tokens it has.

From the files of a local model folder or the header of a GGUF file, read as plain JSON and text;
nothing is loaded or rendered.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from tunelang.sources import chat_template, gguf

# Layouts of turns by a mark that only they write, as model cards and `transformers` show them.
LAYOUTS = {
    "<|im_start|>": "chatml",
    "<|start_header_id|>": "llama3",
    "<start_of_turn>": "gemma",
    "<<SYS>>": "llama2",
    "[INST]": "mistral",
    "<|assistant|>": "zephyr",
}


# Templates that TuneLang brings (`tunelang.train.templates`), and the mark each layout ends a turn
# with, from the same model cards.
BUILT_IN = ("chatml", "llama3")
ENDS = {
    "chatml": "<|im_end|>",
    "llama3": "<|eot_id|>",
    "gemma": "<end_of_turn>",
    "llama2": "</s>",
    "mistral": "</s>",
    "zephyr": "</s>",
}


@dataclass(frozen=True)
class Tokenizer:
    """`layout` names how turns are written: "" where there is no template, None if not known.

    `template` is its text where that is here, `tuned` whether the model was trained with it.
    `tokens` are those known by name, `reserved` a pattern of more; a `folder` tells all of them.
    """

    layout: str | None = None
    template: str = ""
    tuned: bool = False
    eos: str | None = None
    tokens: frozenset[str] = frozenset()
    reserved: str = ""
    folder: Path | None = None

    def has(self, token: str) -> bool:
        """Whether the vocabulary holds the token, true where that cannot be told."""
        if token in self.tokens or (self.reserved and re.fullmatch(self.reserved, token)):
            return True
        if self.folder:
            every = vocabulary(self.folder)
            return token in every if every else True
        return not (self.tokens and token.startswith("<") and token.endswith(">"))


def layout_of(template: str) -> str | None:
    """The well-known layout that a template writes, None for one of its own."""
    return next((name for mark, name in LAYOUTS.items() if mark in template), None)


def of_folder(folder: Path) -> Tokenizer:
    """What the tokenizer files of a model folder say; nothing where there are none."""
    config = _json(folder / "tokenizer_config.json")
    if not config:
        return Tokenizer()
    template = chat_template.of_folder(folder) or ""
    return Tokenizer(
        layout=layout_of(template) if template else "",
        template=template,
        tuned=bool(template),
        eos=_content(config.get("eos_token")),
        tokens=frozenset(_named(config)),
        folder=folder,
    )


def of_gguf(path: Path) -> Tokenizer:
    """What the header of a GGUF file says; nothing where it cannot be read."""
    try:
        found, _ = gguf.header(path)
    except (OSError, ValueError):
        return Tokenizer()
    template = str(found.get("tokenizer.chat_template") or "")
    layout = layout_of(template) if template else ""
    return Tokenizer(layout=layout, template=template, tuned=bool(template))


def vocabulary(folder: Path) -> frozenset[str]:
    """Every token of a model folder, none where its tokenizer.json cannot tell."""
    path = folder / "tokenizer.json"
    return _vocabulary(path, path.stat().st_mtime_ns) if path.is_file() else frozenset()


@lru_cache(maxsize=4)
def _vocabulary(path: Path, changed: int) -> frozenset[str]:
    """Megabytes of JSON, so it is read once as long as it stays the same (`changed`)."""
    whole = _json(path)
    model = whole.get("model")
    known = model.get("vocab") if isinstance(model, dict) else None
    added = [text for each in whole.get("added_tokens") or [] if (text := _content(each))]
    return frozenset([*known, *added]) if isinstance(known, dict) else frozenset()


def _named(config: dict[str, Any]) -> Iterator[str]:
    added = config.get("added_tokens_decoder")
    listed = list(added.values()) if isinstance(added, dict) else []
    listed += [value for name, value in config.items() if name.endswith("_token")]
    listed += config.get("additional_special_tokens") or []
    yield from (text for each in listed if (text := _content(each)))


def _content(token: Any) -> str | None:
    """A token is written as its text or as an object with its flags."""
    found = token.get("content") if isinstance(token, dict) else token
    return found if isinstance(found, str) else None


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
