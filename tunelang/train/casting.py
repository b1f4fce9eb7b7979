"""Who plays what in ppo, grpo and rloo: each role a model or adapters of its own.

The policy's base is shared wherever that is exact; the rest stands by itself.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from tunelang.plan.ir import ModelRef, Step
from tunelang.train import forward, stage, trainable
from tunelang.train.engines.engine import Engine
from tunelang.train.evaluate import Lens
from tunelang.train.folders import Origin, origin, tokenizer_folder
from tunelang.train.job import Job, fail
from tunelang.train.model import Loaded, load, read_tokenizer
from tunelang.train.product import digest
from tunelang.train.roles import POLICY, REWARD, VALUE, Cast, Critic, Judge, Role
from tunelang.train.speech import Speech, reply
from tunelang.train.trainable import Trained


def cast(step: Step, job: Job, start: Loaded, speech: Speech, engine: Engine) -> Cast:
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
    reference = reference_of(step, job, trained)
    return carried_by(Cast(policy, reference, critic, judge, trained, lens), engine)


def carried_by(who: Cast, engine: Engine) -> Cast:
    """The same roles, all of them computed by an engine."""
    critic, judge = who.critic, who.judge
    return replace(
        who,
        policy=replace(who.policy, engine=engine),
        reference=replace(who.reference, engine=engine),
        critic=replace(critic, role=replace(critic.role, engine=engine)) if critic else None,
        judge=replace(judge, role=replace(judge.role, engine=engine)) if judge else None,
    )


def recompute(step: Step, who: Cast) -> None:
    """Have what trains compute its activations again where the plan says so; see `recomputing`."""
    if step.place.checkpointing:
        for role in [who.policy, who.critic.role] if who.critic else [who.policy]:
            forward.causal(role.model).gradient_checkpointing_enable({"use_reentrant": False})


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
    """A whole model in fp32 that trains, but for an output layer of its own: no value reads it, and
    an engine that flattens weights would let it decay."""
    model = load(source, job, precision="fp32").model
    model.requires_grad_(True)
    output = forward.causal(model).get_output_embeddings()
    if output is not None and output.weight is not model.get_input_embeddings().weight:
        output.weight.requires_grad_(False)
    return model


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
