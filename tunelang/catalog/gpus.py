"""The catalogue of GPUs: `gpus.toml` by name."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

FILE = Path(__file__).with_name("gpus.toml")


@dataclass(frozen=True)
class Gpu:
    """Bytes, FLOP/s, B/s; `usable` is what programs get, `memory` what the vendor prints."""

    name: str
    memory: int
    usable: int
    flops: float
    bandwidth: float
    link: float
    bf16: bool
    fp8: bool


@cache
def _entries() -> dict[str, Gpu]:
    found: dict[str, Gpu] = {}
    for name, entry in tomllib.loads(FILE.read_text(encoding="utf-8")).items():
        aliases = entry.pop("aliases")
        for alias in (name, *aliases):
            found[alias.lower()] = Gpu(name=name, **entry)
    return found


def find(name: str) -> Gpu | None:
    """By name or alias, in any case."""
    return _entries().get(name.strip().lower())


def names() -> tuple[str, ...]:
    """The canonical names."""
    return tuple(dict.fromkeys(gpu.name for gpu in _entries().values()))
