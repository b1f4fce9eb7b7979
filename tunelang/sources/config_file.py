"""A model's config.json, which anybody may have written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

MOST = 2**24  # bytes; a config.json has kilobytes, and more is some other file


def read(path: Path) -> dict[str, Any]:
    """Its fields. OSError where it cannot be read, ValueError where it is no config.json."""
    if path.stat().st_size > MOST:
        raise ValueError("it is too large for a config.json")
    try:
        config = json.loads(path.read_text("utf-8"))
    except (ValueError, RecursionError):
        raise ValueError("it is no JSON") from None
    if not isinstance(config, dict):
        raise ValueError("it is no JSON object")
    return config
