"""What does not run on tensors without contents, and what stands for it. Nowhere else.

- Values that Python reads (`float(loss)`, `.tolist()`): 1. Nothing that is held depends on them.
- Masks of the data that pick positions: as many as the case says (`Tracker.share`).
- Experts are asked evenly: each gets `active / count` of all tokens.
- PEFT asks whether autocast is on without naming a device, and means CUDA.
- Random numbers from a generator of their own: a tensor is filled in place.
- Advantages: a loop over the tokens of a reply that holds nothing but what it returns.
- Attention: CUDA's flash kernel keeps queries, keys, values, the output and one fp32 logsumexp for
  each head and token; the kernel that a CPU would choose makes a square of scores.
- `Module.to`: torch swaps whole tensors of this kind, which fails where one is referred to.
- Causal masks: transformers leaves them out where it can look at position ids, and cannot here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import torch
from torch import Tensor

aten = torch.ops.aten


def scalar(tracker: Any, tensor: Tensor) -> Any:
    if tensor.untyped_storage()._cdata in tracker.numbers:
        return tensor.storage_offset()
    return {torch.bool: True}.get(tensor.dtype, 1.0 if tensor.dtype.is_floating_point else 1)


def index(tracker: Any, tensor: Tensor, indices: list[Any]) -> Any:
    """tensor[mask]: CUDA makes numbers of the positions first; they are gone after the op."""
    if not any(each is not None and each.dtype == torch.bool for each in indices):
        return NotImplemented
    mask = next(each for each in indices if each is not None)
    kept = round(tracker.share * mask.numel())
    return tensor.new_empty((kept, *tensor.shape[mask.dim() :]))


def nonzero(tracker: Any, mask: Tensor) -> Tensor:
    """Of one row: all experts that are asked; of several: the places that ask one of them."""
    if mask.dim() == 1:
        found = mask.new_empty((tracker.experts, 1), dtype=torch.int64)
        tracker.numbers.add(found.untyped_storage()._cdata)
        tracker.kept.append(found)
        return found
    return mask.new_empty((mask.numel() // tracker.experts, mask.dim()), dtype=torch.int64)


def repeated(tracker: Any, counts: Tensor, **_: Any) -> Tensor:
    return counts.new_empty((tracker.supervised,))


OPS: dict[Any, Callable[..., Any]] = {
    aten._local_scalar_dense.default: scalar,
    aten.index.Tensor: index,
    aten.nonzero.default: nonzero,
    aten.repeat_interleave.Tensor: repeated,
    aten.equal.default: lambda *_: True,
    aten.exponential_.default: lambda _tracker, tensor, *_, **__: tensor,
}


class Flash(torch.autograd.Function):
    """What CUDA's flash attention makes and keeps; [B, heads, T, width] as it is called with."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        batch, heads, length, _ = query.shape
        laid = query.new_empty((batch, length, heads, value.shape[-1]))
        out = laid.transpose(1, 2)
        sums = query.new_empty((batch, heads, length), dtype=torch.float32)
        ctx.save_for_backward(query, key, value, out, sums)
        return out

    @staticmethod
    def backward(ctx: Any, *given: Tensor) -> Any:
        query, key, value, _out, _sums = ctx.saved_tensors
        return torch.empty_like(query), torch.empty_like(key), torch.empty_like(value)


def attention(query: Tensor, key: Tensor, value: Tensor, *_: Any, **__: Any) -> Tensor:
    if torch.is_autocast_enabled("cpu"):
        query, key, value = (each.to(torch.bfloat16) for each in (query, key, value))
    found: Tensor = Flash.apply(query, key, value)
    return found


def swap(old: Tensor, new: Tensor) -> None:
    old.data = new.data


ENABLED = torch.is_autocast_enabled


def autocast_is_on(device: str = "cpu") -> bool:
    return bool(ENABLED(device))


def gae(rewards: Tensor, *_: Any) -> tuple[Tensor, Tensor]:
    return torch.empty_like(rewards), torch.empty_like(rewards)


@contextmanager
def kernels() -> Iterator[None]:
    """The attention kernel and the masks of CUDA."""
    from transformers import masking_utils

    from tunelang.train import advantages

    with (
        mock.patch.object(torch.nn.functional, "scaled_dot_product_attention", attention),
        mock.patch.object(advantages, "gae", gae),
        mock.patch.object(torch, "is_autocast_enabled", autocast_is_on),
        mock.patch.object(torch.utils, "swap_tensors", swap),
        mock.patch.object(masking_utils, "is_tracing", lambda *_: False),
    ):
        yield
