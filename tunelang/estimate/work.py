"""What a step has to do: everything an estimate needs to know of it, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from tunelang.estimate.load import NF4, Load, Offload, Sharding, trainable
from tunelang.estimate.parameters import Architecture, Targets, active_count, count
from tunelang.estimate.roles import Judge, Reference

KINDS = ("full", "lora", "qlora", "ia3", "layers", "head", "experts")  # of Load.weights


@dataclass(frozen=True)
class Work:
    """`batch` rows an update of at most `length` tokens each; ppo adds prompt and reply.

    `rows` are the sequences of one row: a preference pair has two. `weights` is the kind whose
    memory is counted, `kind` the one that is written. `share` of the routed experts train where
    weights are `experts`; full tuning without `masters` keeps no fp32 weights beside those of the
    precision. `held` are bytes of a weight of `qlora`; `last` layers train where it is `layers`. A
    policy samples a `batch` at a time and updates on `minibatches` of it; `reference` and `judge`
    say what scores beside it.

    Constraints of the recipe, planned where they are None: `micro`, `recompute` (activations),
    `sharding` and `offload`.
    """

    architecture: Architecture
    method: str
    weights: str
    rank: int
    targets: Targets
    batch: int
    length: int
    mean_length: int
    precision: str
    steps: int
    prompt: int = 0
    reply: int = 0
    epochs: int = 1
    frozen: int = 2  # a policy's reference and reward model
    critic: bool = True  # ppo's value model
    texts: int = 0  # tokens that ppo's pretraining mix adds to an iteration
    rows: int = 1
    micro: int | None = None
    recompute: bool | None = None
    share: float = 0.0
    masters: bool = True
    held: float = NF4
    kind: str = ""
    last: int = 0
    dora: bool = False
    optimizer: str = "adamw"
    minibatches: int = 1
    group: int = 1
    reference: Reference = "none"
    judge: Judge = "none"
    sharding: Sharding | None = None
    offload: Offload | None = None

    @property
    def positions(self) -> int:
        """Tokens of one sequence in memory."""
        return self.prompt + self.reply if self.reply else self.length

    @property
    def width(self) -> int:
        """Bytes of a resting weight: full tuning computes over fp32 masters only in fp32."""
        return 4 if self.precision == "fp32" else 2  # fp8 computes from bf16 weights

    @cached_property
    def parameters(self) -> int:
        return count(self.architecture)

    @cached_property
    def active(self) -> int:
        """Parameters that one token meets."""
        return active_count(self.architecture)

    @property
    def written(self) -> str:
        """The kind of weights as memory tells kinds apart."""
        return self.kind if self.kind in KINDS else self.weights

    @cached_property
    def trained(self) -> int:
        load = Load(
            self.architecture,
            self.written,
            tokens=0,
            rank=self.rank,
            targets=self.targets,
            dora=self.dora,
            last=self.last,
            share=self.share,
        )
        return trainable(load)
