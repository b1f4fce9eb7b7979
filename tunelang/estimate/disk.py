"""Bytes that a step writes: what it saves when it ends, and its checkpoints on the way."""

from __future__ import annotations

KEPT = 3  # two checkpoints stay, and the next is written before the older one goes (checkpoint.py)
WEIGHT = 4  # bytes of what trains and of what is saved: fp32 masters (train/trainable.py)
MOMENTS = {"adamw": 8}  # bytes of AdamW's two; the 8-bit ones have 2


def product_bytes(trained: int) -> int:
    """The weights that a step trains, as it saves them."""
    return WEIGHT * trained


def checkpoint_bytes(trained: int, optimizer: str) -> int:
    """All its checkpoints at the worst moment: weights and moments."""
    return KEPT * (WEIGHT + MOMENTS.get(optimizer, 2)) * trained
