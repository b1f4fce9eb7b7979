"""The processes of a step: who they are, and how rows and numbers go between them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import nn

from tunelang.train.engines.body import Body

T = TypeVar("T")


def start(device: str) -> None:
    """Meet the other processes. Objects and numbers travel over gloo on any device."""
    if device == "cuda":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group("cpu:gloo,cuda:nccl" if device == "cuda" else "gloo")


class Group:
    """What every engine of several processes does alike."""

    def __init__(self) -> None:
        self.rank, self.world = dist.get_rank(), dist.get_world_size()
        self.bodies: list[Body] = []

    def body_of(self, model: nn.Module | None) -> Body | None:
        """What holds a model, None where this engine does not; of one body it need not be named."""
        if model is None and len(self.bodies) > 1:
            msg = "of several models, the one that computes must be named"
            raise ValueError(msg)
        return next((one for one in self.bodies if model is None or one.holds(model)), None)

    def share(self, items: Sequence[T]) -> list[T]:
        """Item i belongs to process i modulo world; the first ones come again to fill up."""
        return [items[at % len(items)] for at in self._places(len(items))]

    def counts(self, items: int) -> list[bool]:
        return [at < items for at in self._places(items)]

    def _places(self, items: int) -> range:
        each = -(-items // self.world)
        return range(self.rank, each * self.world, self.world)

    def together(self, mine: Sequence[T]) -> list[T]:
        """In the order of the items; where they did not divide, repeats stand at the end."""
        found = gathered(list(mine))
        return [one for turn in zip(*found, strict=True) for one in turn]

    def total(self, values: Sequence[float]) -> list[float]:
        """Added in the order of the processes, so that all get the same bits."""
        return [sum(each) for each in zip(*gathered(list(values)), strict=True)]

    def wait(self) -> None:
        gathered(None)


def gathered(mine: Any) -> list[Any]:
    """What every process has, by rank."""
    found = [None] * dist.get_world_size()
    dist.all_gather_object(found, mine)
    return found
