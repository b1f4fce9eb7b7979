"""The header of a GGUF file, read without any library: key-values and where its tensors are.

Layout: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md (version 2 and 3, little-endian).
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

# Value types of the specification: struct format, or how to read it.
_PLAIN = {
    0: "<B",
    1: "<b",
    2: "<H",
    3: "<h",
    4: "<I",
    5: "<i",
    6: "<f",
    7: "<?",
    10: "<Q",
    11: "<q",
    12: "<d",
}
_STRING, _ARRAY = 8, 9
LONGEST = 1 << 24  # bytes of one string; more means the file is damaged
F32 = 0  # the tensor type of plain 32-bit numbers
ALIGNMENT = 32  # of tensors, where `general.alignment` says no other


@dataclass(frozen=True)
class Held:
    """A tensor of the file: its type, how many numbers it holds, where in the file they begin."""

    kind: int
    count: int
    at: int


def header(path: Path) -> tuple[dict[str, Any], dict[str, Held]]:
    """Metadata by key (arrays give their length) and tensors by name. Raises ValueError."""
    stat = path.stat()
    return _header(path, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=4)
def _header(path: Path, changed: int, size: int) -> tuple[dict[str, Any], dict[str, Held]]:
    """Plans and rules both ask, and a vocabulary takes a tenth of a second to pass over."""
    with path.open("rb") as file:
        if file.read(4) != b"GGUF":
            msg = "it does not begin with GGUF"
            raise ValueError(msg)
        version, tensors, count = struct.unpack("<IQQ", _exactly(file, 20))
        if version not in (2, 3):
            msg = f"version {version} of the format is not known"
            raise ValueError(msg)
        values = {_string(file): _value(file) for _ in range(count)}
        found = [_tensor(file) for _ in range(tensors)]
        width = int(values.get("general.alignment", ALIGNMENT))
        start = -(-file.tell() // width) * width
    held = {name: Held(kind, count, start + offset) for name, kind, count, offset in found}
    return values, held


def numbers(path: Path, held: Held) -> list[float]:
    """The numbers of a tensor in f32. Raises ValueError for another type."""
    if held.kind != F32:
        msg = "its rotary factors are not in f32"
        raise ValueError(msg)
    with path.open("rb") as file:
        file.seek(held.at)
        return list(struct.unpack(f"<{held.count}f", _exactly(file, 4 * held.count)))


def config(path: Path) -> dict[str, Any]:
    """The architecture as a Hugging Face config.json would say it."""
    found, tensors = header(path)
    kind = found.get("general.architecture", "")
    keys = {
        "hidden_size": "embedding_length",
        "num_hidden_layers": "block_count",
        "intermediate_size": "feed_forward_length",
        "num_attention_heads": "attention.head_count",
        "num_key_value_heads": "attention.head_count_kv",
        "max_position_embeddings": "context_length",
        "vocab_size": "vocab_size",
    }
    values = {
        name: found[f"{kind}.{key}"] for name, key in keys.items() if f"{kind}.{key}" in found
    }
    values.setdefault("vocab_size", found.get("tokenizer.ggml.tokens", 0))
    missing = [name for name in keys if not values.get(name)]
    if missing:
        msg = f"its header lacks {missing[0]}"
        raise ValueError(msg)
    # A tied head is not stored: llama.cpp takes the embedding where there is no output.weight.
    return {"model_type": kind, "tie_word_embeddings": "output.weight" not in tensors, **values}


def _tensor(file: BinaryIO) -> tuple[str, int, int, int]:
    """Name, type, count of numbers, and offset from where the data begins."""
    name = _string(file)
    shape = [_plain(file, "<Q") for _ in range(_plain(file, "<I"))]
    kind, offset = _plain(file, "<I"), _plain(file, "<Q")
    return name, kind, math.prod(shape), offset


def _exactly(file: BinaryIO, size: int) -> bytes:
    data = file.read(size)
    if len(data) < size:
        msg = "it ends in the middle of its header"
        raise ValueError(msg)
    return data


def _plain(file: BinaryIO, layout: str) -> Any:
    return struct.unpack(layout, _exactly(file, struct.calcsize(layout)))[0]


def _string(file: BinaryIO) -> str:
    size = _plain(file, "<Q")
    if size > LONGEST:
        msg = "its header is damaged"
        raise ValueError(msg)
    return _exactly(file, size).decode("utf-8", "replace")


def _value(file: BinaryIO) -> Any:
    kind = _plain(file, "<I")
    if kind == _STRING:
        return _string(file)
    if kind == _ARRAY:
        return _skip_array(file)
    return _plain(file, _PLAIN[kind])


def _skip_array(file: BinaryIO) -> int:
    """The length of an array; its items are passed over."""
    kind, length = _plain(file, "<I"), _plain(file, "<Q")
    if kind in _PLAIN:
        file.seek(length * struct.calcsize(_PLAIN[kind]), 1)
    else:
        skip: Callable[[BinaryIO], Any] = _string if kind == _STRING else _skip_array
        for _ in range(length):
            skip(file)
    return int(length)
