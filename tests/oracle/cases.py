"""The grid: what is trained, how, and on what, and how the closed form is asked for the same."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Case:
    """One micro-batch of `rows` rows (pairs, episodes) of `length` tokens, `accumulate` of them.

    `prompt` tokens of each have no loss; a policy reads them and writes the rest. `reference`,
    `critic` and `judge` as in `estimate/roles.py`.
    """

    model: str
    method: str = "sft"
    weights: str = "full"
    rank: int = 16
    targets: str | tuple[str, ...] = "all_linear"
    dora: bool = False
    masters: bool = True
    precision: str = "bf16"
    rows: int = 1
    length: int = 2048
    prompt: int = 0
    accumulate: int = 1
    checkpointing: bool = False
    loss: str = "chunked"
    reference: str = "none"
    critic: str = "none"
    judge: str = "none"
    layers: int = 0  # the last ones that train, of weights = layers
    chosen: int = 0  # experts of each layer that train, of weights = experts
    sampled: int = 0  # replies that a policy writes at once

    @property
    def name(self) -> str:
        """What differs from the plainest case."""
        plain = asdict(Case(""))
        said = {key: value for key, value in asdict(self).items() if value != plain[key]}
        return " ".join(f"{key}={value}" for key, value in said.items())

    @property
    def sequences(self) -> int:
        """Sequences that are computed at once."""
        return self.rows * (2 if self.method in ("dpo", "reward") else 1)

    @property
    def scored(self) -> int:
        """Positions whose logits the loss reads, in all sequences of a micro-batch."""
        return self.sequences * (self.length - max(1, self.prompt))


def fields(case: Case) -> dict[str, Any]:
    """The fields of `weights` as a step has them."""
    if case.weights in ("lora", "qlora"):
        targets = case.targets if case.targets == "all_linear" else list(case.targets)
        more = {"rank": case.rank, "alpha": 32, "targets": targets, "dropout": 0.0}
        return {**more, "dora": case.dora}
    if case.weights == "ia3":
        return {"targets": "paper"}
    if case.weights == "layers":
        return {"last": case.layers}
    return {} if case.masters else {"masters": "none"}
