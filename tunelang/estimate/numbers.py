"""Numbers of a config.json, which anybody may have written: whole, above zero, and such as models
have. What is none raises ValueError, so that nothing is counted from it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

MOST_LAYERS = 10_000  # DeepNet, the deepest published, has 1,000 (arXiv 2203.00555)
MOST = 2**31 - 1  # what an index of 32 bits reaches; products of such sizes are still finite


def size(config: Mapping[str, Any], name: str, most: int = MOST) -> int:
    """A number that has to be there, from 1 to `most`. KeyError or ValueError where it is not."""
    value = config[name]
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
        raise ValueError(f"`{name}` is no size: {value!r:.40}")
    return value


def given(config: Mapping[str, Any], name: str, default: int = 0, most: int = MOST) -> int:
    """As `size`; `default` where a config leaves it out, or writes null or 0 for none."""
    value = config.get(name)
    return size(config, name, most) if value else default


def share(config: Mapping[str, Any], name: str, default: float) -> float:
    """A part of one; `default` where a config leaves it out."""
    value = config.get(name)
    if not value:
        return default
    if not isinstance(value, int | float) or not 0 < value <= 1:
        raise ValueError(f"`{name}` is no share: {value!r:.40}")
    return float(value)
