"""What trains when: the head alone at first, then one group more at a time, from the top down.

All groups are in the optimizer from the start and are frozen by requires_grad. One that is built
from what trains first would never move what is unfrozen later, in silence: transformers' Trainer
with a callback trains its head only. So every group that is unfrozen is watched to have moved.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch

from tunelang.methods.transfer import FAINT
from tunelang.train.groups import Group
from tunelang.train.job import Job


@dataclass(frozen=True)
class Timetable:
    """From which update on groups train: `probe` updates of the head alone, then one group more
    every `every` updates (0: all at once)."""

    probe: int = 0
    every: int = 0

    def opened(self, at: int, count: int) -> int:
        """How many of `count` groups, counted from the top, train in the update after `at`."""
        alone = self.probe or self.every
        if at < alone:
            return 1
        if not self.every:
            return count
        return min(count, 2 + (at - alone) // self.every)


@dataclass
class Watch:
    """Marks of the groups that were just unfrozen, until their first update is done."""

    at: int = 0
    marks: dict[str, list[int]] = field(default_factory=dict)


@dataclass(frozen=True)
class Thaw:
    """Sets requires_grad of all groups for an update, and sees that what thaws moves.

    `rate(group, at)` is the rate of a group in the update after `at` done ones.
    """

    groups: Sequence[Group]
    timetable: Timetable
    rate: Callable[[Group, int], float]
    job: Job
    watch: Watch = field(default_factory=Watch)
    open: set[str] = field(default_factory=set)

    def __call__(self, at: int) -> None:
        """Freeze and unfreeze for the update after `at` done ones."""
        self._see()
        count = self.timetable.opened(at, len(self.groups))
        training = self.groups[len(self.groups) - count :]
        names = {group.name for group in training}
        for group in self.groups:
            for value in group.values.values():
                value.requires_grad_(group.name in names)
        if self.open:  # those that train first are watched by the loop
            self._wait([group for group in training if group.name not in self.open], at)
        self.open.update(names)

    def _wait(self, fresh: Sequence[Group], at: int) -> None:
        """Mark what has just been unfrozen; say so."""
        self.watch.at = at
        for group in reversed(fresh):
            self.job.note(f"after {at} updates `{group.name}` trains, too")
            self.watch.marks[group.name] = marks(group)

    def _see(self) -> None:
        """What was unfrozen before the last update has moved, or its rate is too small to."""
        for group in self.groups:
            before = self.watch.marks.pop(group.name, None)
            if before is None:
                continue
            moved = sum(now != then for now, then in zip(marks(group), before, strict=True))
            rate = self.rate(group, self.watch.at)
            if not moved and rate < FAINT:
                self.job.warn(f"{group.name} trains at a rate of {rate:.0e}, too small to move it")
                continue
            trouble = (f"{group.name} was unfrozen and has not moved", "is it in the optimizer?")
            self.job.check("unfrozen-weights-move", moved, moved > 0, trouble)


def marks(group: Group) -> list[int]:
    """The sum of the bits of every weight of a group: another where any number has moved."""
    whole = {2: torch.int16, 4: torch.int32}
    return [
        int(value.detach().view(whole[value.itemsize]).sum(dtype=torch.int64))
        for value in group.values.values()
    ]
