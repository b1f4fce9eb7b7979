"""Who is who in ppo, grpo and rloo: policy, reference, value and reward, as adapters on one base.

Where everything trains, or the reward rests on other weights, a role is a model of its own. A role
is used through `speaking`, which computes with exactly its adapters; requires_grad is set once and
never by PEFT's switches, which turn it on for adapters that must not train.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from transformers.modeling_layers import GradientCheckpointingLayer

from tunelang.train import scoring, trainable
from tunelang.train.engines.engine import Engine
from tunelang.train.engines.single import Single
from tunelang.train.evaluate import Lens
from tunelang.train.rollout import Episode, Episodes, hidden_at_reads
from tunelang.train.trainable import Trained

T = TypeVar("T")
POLICY, VALUE, REWARD = "policy", "value", "reward"


@dataclass(frozen=True)
class Role:
    """A model and the adapters it computes with; None where it has none to choose from.

    `engine` holds its weights and computes it.
    """

    model: Any
    adapters: tuple[str, ...] | None
    engine: Engine = field(default_factory=Single)

    def compute(self, work: Callable[[Any], T], *, last: bool = True) -> T:
        """What `work` makes of the model; every process has to ask for as much. `last`: the
        backward pass of it ends an update."""
        with speaking(self) as model:
            return self.engine.compute(lambda: work(model), model, last=last)


@dataclass(frozen=True)
class Critic:
    """The value role and its head [H] -> [1], fp32."""

    role: Role
    head: nn.Linear


@dataclass(frozen=True)
class Judge:
    """The reward role, its head [1, H], the bias of its scores and the tokens its rows end with."""

    role: Role
    head: Tensor
    bias: float
    suffix: list[int]


@dataclass(frozen=True)
class Cast:
    """The roles, what the policy saves, and how they are computed.

    Only ppo has a critic; a reward that is a function needs no judge.
    """

    policy: Role
    reference: Role
    critic: Critic | None
    judge: Judge | None
    trained: Trained
    lens: Lens


@contextmanager
def speaking(role: Role) -> Iterator[Any]:
    """The role's model, computing with exactly the role's adapters."""
    if role.adapters is None:
        yield role.model
        return
    with trainable.using(role.model, role.adapters):
        yield role.model


@contextmanager
def whole(role: Role) -> Iterator[Any]:
    """`speaking`, with all weights at hand: replies end where they will on every process."""
    with role.engine.whole(role.model), speaking(role) as model:
        yield model


@contextmanager
def recomputing(who: Cast) -> Iterator[None]:
    """Layers that are to compute their activations again do so inside the block.

    transformers does it in training mode alone. Only the layer itself is put into it: what it
    holds, dropout too, stays in evaluation mode.
    """
    roles = [who.policy, who.critic.role] if who.critic else [who.policy]
    found = {id(layer): layer for role in roles for layer in recomputed(role.model)}
    for layer in found.values():
        layer.training = True
    try:
        yield
    finally:
        for layer in found.values():
            layer.training = False


def recomputed(model: nn.Module) -> list[nn.Module]:
    """The layers that the plan has compute their activations again."""
    layers = (one for one in model.modules() if isinstance(one, GradientCheckpointingLayer))
    return [layer for layer in layers if layer.gradient_checkpointing]


def values(critic: Critic, episodes: Episodes, lens: Lens, *, last: bool = True) -> Tensor:
    """V before each real reply token, [N] in fp32; `last` as in `Role.compute`."""

    def work(model: Any) -> Tensor:
        found: Tensor = critic.head(hidden_at_reads(model, episodes, lens).float())[:, 0]
        return found

    return critic.role.compute(work, last=last)


@torch.no_grad()
def score(judge: Judge, rows: Sequence[Episode], lens: Lens) -> Tensor:
    """Scores [B] of replies as the reward model was taught to read them, bias added.

    Every process scores its share and gets the whole.
    """
    ids = [row.ids + (judge.suffix if row.ended else []) for row in rows]
    batches = scoring.groups(sorted(range(len(ids)), key=lambda at: len(ids[at])), ids)

    def scores(batch: list[int]) -> Tensor:
        some = [ids[at] for at in batch]
        return judge.role.compute(lambda model: scoring.scores(model, judge.head, some, lens)).cpu()

    engine = judge.role.engine
    made = engine.together([scores(batch) for batch in engine.share(batches)])
    found = torch.empty(len(ids))
    for batch, part in zip(batches, made, strict=False):  # what comes twice comes at the end
        found[batch] = part
    return found.to(lens.device) + judge.bias
