"""The embedding and the head of a model: how many rows they have, and how they grow."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from peft.utils.other import TrainableTokensWrapper
from torch import nn


def grow(model: Any, size: int) -> int:
    """At least `size` rows in embedding and head (many models hold spare ones); returns how many.

    The new rows have no value of their own yet: the caller gives them one.
    """
    held = int(model.get_input_embeddings().weight.shape[0])
    if held >= size:
        return held
    wants = model.get_input_embeddings().weight.requires_grad
    model.resize_token_embeddings(size, mean_resizing=False)
    for layer in layers(model):
        layer.weight.requires_grad_(wants)
    return size


def layers(model: Any) -> list[Any]:
    """The embedding and the head; one of them where they share their weight."""
    embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
    if head is None or head.weight is embedding.weight:
        return [embedding]
    return [embedding, head]


def paths(model: nn.Module) -> list[str]:
    """The names of the embedding and the head within the model, as `layers` gives them."""
    wanted = layers(model)
    return [path for path, module in model.named_modules() if any(module is w for w in wanted)]


def settle(model: nn.Module) -> None:
    """Write the rows that attached adapters hold into the embedding and the head themselves.

    Neither is ever in few bits, so nothing is rounded away; and PEFT cannot save a further adapter
    beside one that holds rows.
    """
    found = [
        (path, module)
        for path, module in model.named_modules()
        if isinstance(module, TrainableTokensWrapper)
    ]
    for path, module in found:
        plain = module.unload_and_optionally_merge_module(
            merge=True, safe_merge=False, adapter_names=None
        )
        parent, _, name = path.rpartition(".")
        setattr(model.get_submodule(parent), name, plain)


def rows_of(adapter: Path) -> int:
    """How many rows an adapter's base must have for the tokens the adapter holds; 0: any."""
    settings = json.loads((adapter / "adapter_config.json").read_text("utf-8"))
    found: Any = settings.get("trainable_token_indices") or {}
    lists: Iterable[list[int]] = found.values() if isinstance(found, dict) else [found]
    return max((index + 1 for each in lists for index in each), default=0)
