"""The figures of the updates on one rollout: sums over updates, tokens and processes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from tunelang.train import policy_losses as pl


@dataclass
class Stats:
    """Sums over the updates on one rollout."""

    losses: dict[str, float]
    first_ratio: float = 1.0
    clipped: float = 0.0
    entropy: float = 0.0
    tokens: int = 0
    updates: int = 0

    def means(self) -> dict[str, float]:
        """Losses by update; the rest by token, so that no cut into micro-batches shows."""
        losses = {name: loss / max(1, self.updates) for name, loss in self.losses.items()}
        count = max(1, self.tokens)
        return {**losses, "clip_fraction": self.clipped / count, "entropy": self.entropy / count}

    def add(self, losses: dict[str, float]) -> None:
        for name, loss in losses.items():
            self.losses[name] = self.losses.get(name, 0.0) + loss

    def note(self, new: Tensor, old: Tensor, logits: Tensor, clip: tuple[float, float]) -> None:
        """Figures of a micro-batch's real tokens."""
        if self.tokens == 0 and self.updates == 0:
            self.first_ratio = float((new - old).exp().sub(1).abs().max()) + 1
        self.clipped += float(pl.clipped_share(new, old, *clip)) * len(new)
        self.entropy += float(pl.entropy(logits)) * len(new)
        self.tokens += len(new)


def merged(every: Sequence[Stats]) -> Stats:
    """The figures of all processes, which made the same updates on other micro-batches."""
    names = {name for one in every for name in one.losses}
    return Stats(
        {name: sum(one.losses.get(name, 0.0) for one in every) for name in sorted(names)},
        first_ratio=max(one.first_ratio for one in every),
        clipped=sum(one.clipped for one in every),
        entropy=sum(one.entropy for one in every),
        tokens=sum(one.tokens for one in every),
        updates=every[0].updates,
    )
