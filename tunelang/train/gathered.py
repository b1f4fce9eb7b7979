"""A whole model again, of weights that were sharded, to be saved as one process would."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from tunelang.train.model import DTYPES


def model(sharded: Any, weights: Mapping[str, Tensor], precision: str) -> Any:
    """A model of the same class and config that holds `weights`, in `precision` where that is less
    than they have. Tied weights are one tensor in it, too."""
    owners = {id(value): name for name, value in sharded.named_parameters()}
    tensors = {name: value.to(DTYPES[precision]) for name, value in weights.items()}
    with torch.device("meta"):
        made = type(sharded)(sharded.config)
    names = {
        name: owners[id(value)] for name, value in sharded.named_parameters(remove_duplicate=False)
    }
    made.load_state_dict({name: tensors[owner] for name, owner in names.items()}, assign=True)
    made.generation_config = sharded.generation_config
    return made
