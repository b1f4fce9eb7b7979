"""Linear layers in four bits as bitsandbytes 0.50.2 computes them, on tensors without contents.

Its own parameters cannot be made of such tensors; its autograd function (`MatMul4Bit`) keeps the
packed weights alone, and turns one matrix at a time into bf16.
"""

from __future__ import annotations

from typing import Any

import bitsandbytes
import torch
from torch import Tensor, nn

BLOCK, OUTER = 64, 256  # weights of a constant, and constants of a constant of theirs


class Product(torch.autograd.Function):
    """x W^T of packed weights: nothing of x is kept."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, layer: Any) -> Tensor:
        ctx.layer = layer
        return torch.nn.functional.linear(x, whole(layer, x.dtype))

    @staticmethod
    def backward(ctx: Any, *given: Tensor) -> Any:
        return given[0] @ whole(ctx.layer, given[0].dtype), None


def whole(layer: Any, dtype: torch.dtype) -> Tensor:
    """One matrix in full; its constants are there in fp32 while it is made."""
    constants = layer.weight.new_empty(
        layer.in_features * layer.out_features // BLOCK, dtype=torch.float32
    )
    made = layer.weight.new_empty((layer.out_features, layer.in_features), dtype=dtype)
    del constants
    return made


class Held(bitsandbytes.nn.Linear4bit):  # type: ignore[misc]
    """A layer of `like`'s shape; PEFT puts its adapter for four bits on it."""

    def __init__(self, like: nn.Linear) -> None:
        nn.Module.__init__(self)
        self.in_features, self.out_features = like.in_features, like.out_features
        count = like.weight.numel()
        self.weight = nn.Parameter(
            like.weight.new_empty((count // 2, 1), dtype=torch.uint8), requires_grad=False
        )
        self.weight.compress_statistics, self.weight.quant_type = True, "nf4"
        self.compute_dtype, self.bias = torch.bfloat16, like.bias
        self.constants = like.weight.new_empty((count // BLOCK,), dtype=torch.uint8)
        self.outer = like.weight.new_empty((count // BLOCK // OUTER,), dtype=torch.float32)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = Product.apply(x.to(self.compute_dtype), self)
        found = found if self.bias is None else found + self.bias
        return found.to(x.dtype)


def hold(model: Any) -> None:
    """Put every linear layer but the output layer into four bits."""
    output = model.get_output_embeddings()
    found = [
        (path, layer)
        for path, layer in model.named_modules()
        if isinstance(layer, nn.Linear) and layer is not output
    ]
    for path, layer in found:
        parent, _, name = path.rpartition(".")
        setattr(model.get_submodule(parent), name, Held(layer))
    model.is_loaded_in_4bit = True
