"""Peak memory of a step with all its roles: the worst of sampling, scoring and updating.

What is held is what the workers hold: `train/roles.py` (ppo, grpo, rloo), `train/reference.py` and
`train/scorer.py` (comparisons), `train/reward.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tunelang.estimate.load import Load
from tunelang.estimate.memory import Memory, memory

Family = Literal["tokens", "comparisons", "reward", "policy"]
Reference = Literal["none", "adapter_off", "own", "computed"]
Critic = Literal["none", "adapter", "own"]
Judge = Literal["none", "adapter", "own", "function"]


@dataclass(frozen=True)
class Roles:
    """Who is in memory beside what trains, for one micro-batch of a step.

    `family`: next-token losses, preference and ranking losses, a reward model, or a policy that
    writes its own replies. `sequences` a row are computed at once (2 for a pair; `Load.tokens`
    counts them all). A policy reads `prompt` tokens and writes `reply`; it samples `sampled`
    replies at once, `group` to a prompt. `reference`: the adapter switched off, a model of its own,
    or log-probabilities that an earlier step computed. `critic` and `judge` (the reward) are
    adapters on the policy's base, models of their own, or a function.
    """

    family: Family = "tokens"
    sequences: int = 1
    prompt: int = 0
    reply: int = 0
    sampled: int = 0
    group: int = 1
    reference: Reference = "none"
    critic: Critic = "none"
    judge: Judge = "none"


def step_memory(load: Load, roles: Roles) -> Memory:
    """The peak of one step on one device, over all its phases.

    `load` is the micro-batch that trains (for a policy: of whole episodes); phases and terms of
    the roles are added to those of `memory(load)`: `generation`, `scoring`; `reference`, `value`,
    `reward`, `cache`.
    """
    return memory(load)
