"""Who is who in ppo, grpo and rloo: policy, reference, value and reward, as adapters on one base.

Where everything trains, or the reward rests on other weights, a role is a model of its own. A role
is used through `speaking`, which computes with exactly its adapters; requires_grad is set once and
never by PEFT's switches, which turn it on for adapters that must not train.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from tunelang.plan.ir import ModelRef, Step
from tunelang.train import scoring, stage, trainable
from tunelang.train.evaluate import Lens
from tunelang.train.folders import Origin, origin, tokenizer_folder
from tunelang.train.job import Job, fail
from tunelang.train.model import Loaded, load, read_tokenizer
from tunelang.train.product import digest
from tunelang.train.rollout import Episode, Episodes, hidden_at_reads
from tunelang.train.speech import Speech, reply
from tunelang.train.trainable import Trained

POLICY, VALUE, REWARD = "policy", "value", "reward"


@dataclass(frozen=True)
class Role:
    """A model and the adapters it computes with; None where it has none to choose from."""

    model: Any
    adapters: tuple[str, ...] | None


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


def values(critic: Critic, episodes: Episodes, lens: Lens) -> Tensor:
    """V before each real reply token, [N] in fp32."""
    with speaking(critic.role) as model:
        hidden = hidden_at_reads(model, episodes, lens)
    found: Tensor = critic.head(hidden.float())[:, 0]
    return found


def score(judge: Judge, rows: Sequence[Episode], lens: Lens) -> Tensor:
    """Scores [B] of replies as the reward model was taught to read them, bias added."""
    ids = [row.ids + (judge.suffix if row.ended else []) for row in rows]
    with speaking(judge.role) as model:
        return scoring.scores_of(model, judge.head, ids, lens) + judge.bias


# --- casting ------------------------------------------------------------------------------------


def cast(step: Step, job: Job, start: Loaded, speech: Speech) -> Cast:
    """Give every role a model, sharing the policy's base wherever that is exact."""
    lens = Lens(step.precision, job.device, start.tokenizer.pad_token_id)
    shared = False
    if "reward" in step.inputs:
        same_tokens(step, job, start)
        judged = origin(step.inputs["reward"], job)
        shared = trainable.is_adapter(step) and rests_on(judged, start.origin)
        shared = shared and adapter_folder(judged, job).is_dir()
    trained = trainable.make_trainable(start, stage.weights_of(step), POLICY)
    policy = Role(trained.model, trained.active if trained.adapter else None)
    judge = judge_of(step, job, trained, speech, shared=shared) if "reward" in step.inputs else None
    critic = critic_of(step, job, trained, judge, shared=shared) if "value" in step.fields else None
    if trained.adapter:
        trainable.train_only(trained.model, [POLICY, VALUE] if critic else [POLICY])
    return Cast(policy, reference_of(step, job, trained), critic, judge, trained, lens)


def same_tokens(step: Step, job: Job, start: Loaded) -> None:
    """TL409: the reward must read the tokens that the policy writes, in the form it knows."""
    judged = origin(step.inputs["reward"], job)
    if read_tokenizer(tokenizer_folder(judged, job)).get_vocab() != start.tokenizer.get_vocab():
        fail(
            "TL409",
            "tokenizers-differ",
            "policy and reward read different tokens",
            "train the reward on a stage of the policy's own model",
        )
    if judged.template != digest(start.template):
        job.warn("the reward was taught with another chat template than the policy's")


def rests_on(judged: Origin, start: Origin) -> bool:
    """Is the reward one adapter on exactly the policy's start?"""
    return (judged.base, judged.deltas[:-1], judged.quant) == (
        start.base,
        start.deltas,
        start.quant,
    ) and bool(judged.deltas)


def judge_of(step: Step, job: Job, trained: Trained, speech: Speech, *, shared: bool) -> Judge:
    """The reward as an adapter on the policy's base, or a frozen model of its own."""
    judged, suffix = origin(step.inputs["reward"], job), ending(speech)
    if shared:
        trainable.load_adapter(trained.model, adapter_folder(judged, job), REWARD)
        loaded_head = load_head(judged, job)
        return Judge(
            Role(trained.model, (*trained.start, REWARD)), loaded_head, judged.bias, suffix
        )
    other = load(step.inputs["reward"], job, precision=step.precision)
    if other.head is None:
        fail(
            "TL115",
            "wrong-stage-kind",
            "the reward has no score head",
            "name a reward_modeling stage",
        )
    adapters = other.attached if other.attached else None
    return Judge(Role(other.model, adapters), other.head, other.bias, suffix)


def load_head(judged: Origin, job: Job) -> Tensor:
    """The reward's score vector [1, H]."""
    if judged.head is None:
        fail(
            "TL115",
            "wrong-stage-kind",
            "the reward has no score head",
            "name a reward_modeling stage",
        )
    found: Tensor = load_file(judged.head)["weight"].to(job.device)
    return found


def ending(speech: Speech) -> list[int]:
    """What the template writes after the token that ends a reply: the reward has read it too."""
    tokens = reply(speech, "a", "b", "chat template").ids
    last = max(
        (at for at, token in enumerate(tokens) if token in speech.stop), default=len(tokens) - 1
    )
    return tokens[last + 1 :]


def critic_of(
    step: Step, job: Job, trained: Trained, judge: Judge | None, *, shared: bool
) -> Critic:
    """The value model: a copy of the reward, or the policy's start with a head of zeros."""
    wanted = judge is not None and step.fields["value"]["from"] == "reward"
    able = shared if trained.adapter else wanted and unquantised(step.inputs["reward"], job)
    copies = wanted and able
    if wanted and not able:
        why = "rests on other weights" if trained.adapter else "is held in 4 bits"
        job.note(f"the reward {why}: the value model starts from the policy")
    if trained.adapter:
        if copies:
            folder = adapter_folder(origin(step.inputs["reward"], job), job)
            trainable.load_adapter(trained.model, folder, VALUE)
        else:
            trainable.add_adapter(trained.model, VALUE, stage.weights_of(step))
        role = Role(trained.model, (*trained.start, VALUE))
    else:
        role = Role(own_model(step.inputs["reward" if copies else "policy"], job), None)
    return Critic(role, value_head(role, job, judge if copies else None))


def adapter_folder(judged: Origin, job: Job) -> Path:
    """Where the reward's own adapter lies, in PEFT's layout."""
    return job.store.object(judged.deltas[-1]) / "adapter"


def unquantised(source: ModelRef, job: Job) -> bool:
    """Can the whole model be held in fp32 and trained?"""
    return origin(source, job).quant is None


def own_model(source: ModelRef, job: Job) -> Any:
    """A whole model in fp32 that trains."""
    loaded = load(source, job, precision="fp32")
    loaded.model.requires_grad_(True)
    return loaded.model


def value_head(role: Role, job: Job, judge: Judge | None) -> nn.Linear:
    """An fp32 head: the reward's with its bias, or zeros."""
    head = nn.Linear(role.model.config.hidden_size, 1, dtype=torch.float32).to(job.device)
    with torch.no_grad():
        head.weight.copy_(judge.head if judge else torch.zeros_like(head.weight))
        head.bias.fill_(judge.bias if judge else 0.0)
    return head


def reference_of(step: Step, job: Job, trained: Trained) -> Role:
    """Adapters off where the reference is the policy's start; else a frozen model of its own."""
    if trained.adapter and step.inputs["reference"] == step.inputs["policy"]:
        return Role(trained.model, trained.start)
    other = load(step.inputs["reference"], job, precision=trainable.storage(step))
    return Role(other.model, other.attached if other.attached else None)
