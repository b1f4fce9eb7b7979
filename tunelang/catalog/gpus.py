"""The catalogue of GPUs: `gpus.toml` by name."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("gpus.toml")
# What nvidia-smi and rocm-smi put before the name of a card, and what is written either way.
MAKERS = re.compile(r"\b(nvidia|geforce|tesla|quadro|amd|instinct)\b")
BETWEEN = re.compile(r"[\s_-]+")
AMPERE = (8, 0)  # bf16, and the kernels of flash attention 2, begin with it
AMD_FLASH = ("gfx90a", "gfx942", "gfx950")  # what flash attention 2 is built for (its README)


@dataclass(frozen=True)
class Gpu:
    """Bytes, FLOP/s, B/s; `usable` is what programs get, `memory` what the vendor prints.

    `flops` are dense 16-bit tensor operations, `fp8_flops` (0: none) 8-bit ones. `link` is what
    collectives reach between cards of a node, a direction, over what `by` names. `capability` is
    NVIDIA's compute capability, or AMD's target.
    """

    name: str
    memory: int
    usable: int
    flops: float
    bandwidth: float
    link: float
    by: str
    architecture: str
    capability: str
    kind: str
    source: str
    fp8_flops: float = 0.0
    vendor: str = "nvidia"
    note: str = ""
    aliases: tuple[str, ...] = ()

    @property
    def bf16(self) -> bool:
        return self.vendor == "amd" or _version(self.capability) >= AMPERE

    @property
    def fp8(self) -> bool:
        return self.fp8_flops > 0

    @property
    def flash(self) -> bool:
        """Whether flash attention 2 has kernels for it."""
        return self.capability in AMD_FLASH or (self.vendor != "amd" and self.bf16)


def _version(capability: str) -> tuple[int, ...]:
    return tuple(int(part) for part in capability.split("."))


@cache
def every() -> tuple[Gpu, ...]:
    """In the order of the catalogue."""
    groups = tomllib.loads(FILE.read_text(encoding="utf-8"))["generation"]
    return tuple(_gpu(entry, group) for group in groups for entry in group["gpus"])


def _gpu(entry: dict[str, Any], group: dict[str, Any]) -> Gpu:
    return Gpu(
        name=entry["name"],
        memory=int(entry["memory"]),
        usable=int(entry["usable"]),
        flops=entry["flops"],
        bandwidth=entry["bandwidth"],
        link=entry["link"],
        by=entry["by"],
        architecture=group["architecture"],
        capability=group["capability"],
        kind=group["class"],
        source=group["source"],
        fp8_flops=entry.get("fp8", 0.0),
        vendor=group.get("vendor", "nvidia"),
        note=entry.get("note", ""),
        aliases=tuple(entry["aliases"]),
    )


@cache
def _entries() -> dict[str, Gpu]:
    return {plain(name): gpu for gpu in every() for name in (gpu.name, *gpu.aliases)}


def plain(name: str) -> str:
    """A name without its maker, case and hyphens: `NVIDIA H100 80GB HBM3` is `h10080gbhbm3`."""
    return BETWEEN.sub("", MAKERS.sub("", name.lower()))


def find(name: str) -> Gpu | None:
    """By name, by alias, or as nvidia-smi prints it."""
    return _entries().get(plain(name))


def names() -> tuple[str, ...]:
    """The canonical names."""
    return tuple(gpu.name for gpu in every())
