"""Peak memory of a step with all its roles: the worst of sampling, scoring and updating.

What is held is what the workers hold: train/casting.py and train/experience.py (ppo, grpo, rloo),
train/reference.py and train/scorer.py (comparisons), train/reward.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from tunelang.estimate.load import Load
from tunelang.estimate.memory import Memory, memory
from tunelang.estimate.passing import generation_bytes, scoring_bytes
from tunelang.estimate.sizes import count
from tunelang.estimate.states import (
    DIVIDES_WEIGHTS,
    beside_bytes,
    divided,
    gradient_bytes,
    optimizer_bytes,
    weight_bytes,
)

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

    `load` is the micro-batch that trains (for a policy: of whole episodes). Beside the phases of
    `memory(load)` a policy has `generation`, `scoring` and, with a value model, those of its update
    (`value: loss` and so on); comparisons that a reward model judges have `reading`. Terms are
    added: `reference`, `value`, `reward`, `cache`.
    """
    if roles.family == "policy":
        return _policy(replace(load, headed=roles.critic != "none"), roles)
    if roles.family == "comparisons":
        return _compared(load, roles)
    return memory(load)


def _compared(load: Load, roles: Roles) -> Memory:
    """Comparisons: a reference of its own stays; a judge is let go once rows are read."""
    found = memory(load, "comparisons")
    held = {"reference": _frozen(load, _stored(load))} if roles.reference == "own" else {}
    made = _beside(found, held)
    if roles.judge != "own":
        return made
    terms = {"weights": weight_bytes(load), "reward": _frozen(load, load.width)}
    return _worst([made, Memory(terms, {"reading": sum(terms.values())}, "reading")])


def _policy(load: Load, roles: Roles) -> Memory:
    """Sampling, scoring, and the update of policy and value model, one after the other."""
    resting = _resting(load, roles)
    value = _value(load, roles)
    with_value = {**resting, "value": sum(value[:2]) + (value[2] if load.accumulates else 0.0)}
    states = {"weights": weight_bytes(load), "optimizer": optimizer_bytes(load)}
    idle = {**states, **resting, "value": sum(value[:2])}
    sampling = generation_bytes(load, roles.prompt, roles.reply, roles.sampled)
    phases = [
        _phase("generation", idle, sampling),
        _phase("scoring", idle, scoring_bytes(load, roles.reply / (roles.prompt + roles.reply))),
        _beside(memory(load, "policy"), with_value),
    ]
    if roles.critic != "none":
        phases.append(_value_update(load, roles, resting, value))
    return _worst(phases)


def _resting(load: Load, roles: Roles) -> dict[str, float]:
    """What never trains: the reference and the reward."""
    found = {}
    if roles.reference == "own":
        found["reference"] = _frozen(load, _stored(load))
    if roles.judge == "own":
        found["reward"] = _frozen(load, load.width)
    elif roles.judge == "adapter":
        found["reward"] = beside_bytes(load)
    return found


def _stored(load: Load) -> int:
    """Bytes of a weight as it is loaded, before an engine lays it out."""
    return 4 if load.owns and load.masters else load.width


def _frozen(load: Load, width: int) -> float:
    """A whole model that rests; engines that shard weights shard its, too."""
    return width * count(load.architecture) / divided(load, DIVIDES_WEIGHTS)


def _critic(load: Load, roles: Roles) -> Load:
    """What the value model trains: an adapter like the policy's, or all of a model in fp32."""
    own = roles.critic == "own"
    return replace(load, scored=0.0, masters=True if own and load.width == 2 else load.masters)


def _value(load: Load, roles: Roles) -> tuple[float, float, float]:
    """Weights, optimizer and gradients of the value model."""
    if roles.critic == "none":
        return 0.0, 0.0, 0.0
    critic = _critic(load, roles)
    if roles.critic == "adapter":
        return beside_bytes(load), optimizer_bytes(load), gradient_bytes(load)
    return weight_bytes(critic), optimizer_bytes(critic), gradient_bytes(critic)


def _value_update(
    load: Load, roles: Roles, resting: Mapping[str, float], value: tuple[float, float, float]
) -> Memory:
    """The value's own update, while the policy's gradients wait for the end of the minibatch."""
    critic = _critic(load, roles)
    found = memory(critic)
    # `found` counts the value as if it were what trains: the policy is what is beside it.
    more = {
        **resting,
        "weights": value[0] if roles.critic == "adapter" else weight_bytes(load),
        "optimizer": optimizer_bytes(load),
        "gradients": gradient_bytes(load),
    }
    named = {f"value: {name}": size for name, size in found.phases.items()}
    return _beside(Memory(found.terms, named, f"value: {found.phase}"), more)


def _phase(name: str, held: Mapping[str, float], made: Mapping[str, float]) -> Memory:
    terms = {**held, **made}
    return Memory(terms, {name: sum(terms.values())}, name)


def _beside(found: Memory, held: Mapping[str, float]) -> Memory:
    """With what lies there through all its phases."""
    more = sum(held.values())
    terms = dict(found.terms)
    for name, size in held.items():
        terms[name] = terms.get(name, 0.0) + size
    return Memory(terms, {name: size + more for name, size in found.phases.items()}, found.phase)


def _worst(found: list[Memory]) -> Memory:
    """All phases, and the terms of the worst of them."""
    worst = max(found, key=lambda one: one.allocated)
    phases = {name: size for one in found for name, size in one.phases.items()}
    return Memory({name: size for name, size in worst.terms.items() if size}, phases, worst.phase)
