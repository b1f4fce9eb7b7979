"""Bytes of live storages, op by op: what an allocator would hold, on tensors without contents."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from tests.oracle import emulated


class Tracker(TorchDispatchMode):
    """Counts each storage once, from the op that makes it to its last reference.

    `peaks` are the most bytes of each phase, `marks` what was there as it began. Nothing here has
    contents: masks of the data keep a `share` of their positions, `supervised` in all, and there
    are so many `experts`.
    """

    def __init__(self, share: float = 1.0) -> None:
        super().__init__()
        self.share = share
        self.supervised = self.experts = 0
        self.numbers: set[int] = set()  # storages that count 0, 1, 2, ...
        self.kept: list[torch.Tensor] = []
        self.live: dict[int, tuple[weakref.ref[Any], int]] = {}
        self.bytes = 0
        self.phase = "build"
        self.peaks: dict[str, int] = {}
        self.marks: dict[str, int] = {}

    def begin(self, phase: str) -> None:
        """From now on peaks are of this phase."""
        self.marks[phase] = self.bytes
        self.phase = phase
        self.peaks[phase] = max(self.bytes, self.peaks.get(phase, 0))

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        stand_in = emulated.OPS.get(func)
        found = NotImplemented
        if stand_in is not None:
            found = stand_in(self, *args, **(kwargs or {}))
        if found is NotImplemented:
            found = func(*args, **(kwargs or {}))
        for each in tree_leaves(found):
            if isinstance(each, torch.Tensor):
                self.note(each)
        return found

    def note(self, tensor: torch.Tensor) -> None:
        """Count the storage of a tensor, if it is a new one."""
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self.live:
            return
        size = storage.nbytes()
        self.live[key] = (weakref.ref(storage, lambda _: self.forget(key)), size)
        self.bytes += size
        self.peaks[self.phase] = max(self.peaks.get(self.phase, 0), self.bytes)

    def forget(self, key: int) -> None:
        self.bytes -= self.live.pop(key)[1]


@contextmanager
def tracking(share: float = 1.0) -> Iterator[Tracker]:
    """Everything inside is computed on fake CPU tensors: shapes and types, no contents.

    Fake and not meta tensors, because autocast knows no meta device.
    """
    tracker = Tracker(share)
    with emulated.kernels(), FakeTensorMode(), tracker:
        yield tracker
