"""The chat template that comes with a model: read from its folder, without any library."""

from __future__ import annotations

import json
from pathlib import Path


def of_folder(folder: Path) -> str | None:
    """Its text: `chat_template.jinja`, else the entry of tokenizer_config.json, as transformers."""
    try:
        return (folder / "chat_template.jinja").read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        pass
    try:
        told = json.loads((folder / "tokenizer_config.json").read_text("utf-8"))
    except (OSError, ValueError):
        return None
    found = told.get("chat_template") if isinstance(told, dict) else None
    if found is None:
        return None
    return found if isinstance(found, str) else json.dumps(found, sort_keys=True)
