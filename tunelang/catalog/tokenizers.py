"""The catalogue of tokenizers: `tokenizers.toml` by hub id."""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path

from tunelang.sources.tokenizers import Tokenizer

FILE = Path(__file__).with_name("tokenizers.toml")


@cache
def _entries() -> dict[str, Tokenizer]:
    found: dict[str, Tokenizer] = {}
    for entry in tomllib.loads(FILE.read_text(encoding="utf-8")).values():
        known = Tokenizer(
            layout=entry["template"],
            tuned=entry.get("tuned", False),
            eos=entry["eos"],
            tokens=frozenset(entry["tokens"]),
            reserved=entry.get("reserved", ""),
        )
        found |= dict.fromkeys(entry["models"], known)
    return found


def of_hub(hub_id: str) -> Tokenizer | None:
    """What is known of a model's tokenizer; None for models not in the catalogue."""
    return _entries().get(hub_id)
