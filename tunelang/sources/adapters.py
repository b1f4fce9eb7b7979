"""Adapter folders in PEFT's layout, read without torch: what is in them, and whose they are."""

from __future__ import annotations

import json
import re
import struct
from dataclasses import dataclass
from pathlib import Path

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
LAYER = re.compile(r"layers\.(\d+)\.(?:.*\.)?(\w+)\.lora_([AB])\.weight$")
MOST = 100 << 20  # bytes of a header; that of safetensors itself


@dataclass(frozen=True)
class Adapter:
    """What its weights say: `inside` and `outside` are widths by layer name.

    `layers` is one more than the number of the last block.
    """

    inside: dict[str, int]
    outside: dict[str, int]
    layers: int


class NotAnAdapter(Exception):
    """Why a folder cannot be read as one."""


def read(folder: Path) -> Adapter:
    """What the folder holds. Raises NotAnAdapter."""
    base(folder)
    if not (folder / WEIGHTS).is_file():
        raise NotAnAdapter(f"it has no {WEIGHTS}")
    inside: dict[str, int] = {}
    outside: dict[str, int] = {}
    layers = 0
    for name, shape in _shapes(folder / WEIGHTS).items():
        found = LAYER.search(name)
        if found is None:
            continue
        layers = max(layers, int(found[1]) + 1)
        if found[3] == "A":
            inside[found[2]] = shape[1]
        else:
            outside[found[2]] = shape[0]
    return Adapter(inside, outside, layers)


def base(folder: Path) -> str:
    """What its configuration says it was trained beside, empty where it does not."""
    try:
        config = json.loads((folder / CONFIG).read_text("utf-8"))
    except OSError:
        raise NotAnAdapter(f"it has no {CONFIG}") from None
    except ValueError:
        raise NotAnAdapter(f"its {CONFIG} cannot be read") from None
    if not isinstance(config, dict) or "peft_type" not in config:
        raise NotAnAdapter(f"its {CONFIG} names no `peft_type`")
    return str(config.get("base_model_name_or_path") or "")


def _shapes(path: Path) -> dict[str, list[int]]:
    """The header of a safetensors file: shapes by name."""
    with path.open("rb") as file:
        (size,) = struct.unpack("<Q", file.read(8).ljust(8, b"\0"))
        if not 0 < size <= MOST:
            raise NotAnAdapter(f"its {WEIGHTS} is damaged")
        try:
            header = json.loads(file.read(size))
        except ValueError:
            raise NotAnAdapter(f"its {WEIGHTS} is damaged") from None
    return {name: said["shape"] for name, said in header.items() if name != "__metadata__"}
