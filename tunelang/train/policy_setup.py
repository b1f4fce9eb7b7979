"""A run of ppo, grpo or rloo made ready: prompts as tokens, units, function and texts."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from torch import Tensor

from tunelang.plan.ir import Step
from tunelang.train import data, engines, optimise, pretraining, reward_functions, rows, trainable
from tunelang.train.casting import recompute
from tunelang.train.engines.engine import Unit
from tunelang.train.experience import Algorithm
from tunelang.train.job import Job, fail
from tunelang.train.material import mixture
from tunelang.train.policy_run import Asked, Run, State
from tunelang.train.roles import POLICY, VALUE, Cast
from tunelang.train.speech import Speech, prompt, said


def prompts(step: Step, job: Job, speech: Speech) -> list[data.Split[Asked]]:
    """Prompts as tokens; one that is longer than `length` is left out, and that is said."""
    left_out = 0
    length = step.length or 0
    answers = step.fields.get("reward", {}).get("kind") == "exact_match"

    def write(example: data.Example) -> list[Asked]:
        nonlocal left_out
        words = rows.asked(example, turns=speech.template is not None)
        ids = prompt(speech, words, example.place) if words is not None else []
        if not ids or len(ids) > length:
            left_out += 1
            return []
        return [Asked(words, ids, answer(example) if answers else None)]

    parts = [data.encode(split, write) for split in data.load(mixture(step), job)]
    if left_out:
        job.note(
            f"{left_out} prompts are left out: empty, with tools, or longer than {length} tokens"
        )
    data.need_rows(parts, step)
    return parts


def answer(example: data.Example) -> str:
    """The reply that a row holds, for `exact_match`; TL302 where it holds none."""
    found = said(example.values)
    if found is None:
        message = f"{example.place}: the row holds no answer for `exact_match` to compare with"
        fail("TL302", "wrong-format", message, "give rows with a reply, or another reward")
    return found


def prepare(
    step: Step, job: Job, who: Cast, read: tuple[Algorithm, Speech, list[data.Split[Asked]]]
) -> Run:
    """The run: weights laid out, a function where no model judges, and its texts."""
    if step.schedule is None:
        msg = f"step {step.name} has no schedule"
        raise ValueError(msg)
    adopted(step, job, who)
    wanted = step.fields.get("reward")
    return Run(
        step,
        job,
        step.schedule,
        who,
        *read,
        State(float(step.fields["kl"]["coefficient"])),
        reward_functions.scorer(wanted) if wanted else None,
        pretraining.texts_of(step, job, read[1]),
    )


def adopted(step: Step, job: Job, who: Cast) -> None:
    """Have the engine lay out the models and build an optimizer for each unit."""
    trains = units_of(step, who)
    ours = {id(model) for unit in trains for model in unit.modules.values()}
    others = [who.reference, *([who.judge.role] if who.judge else [])]
    frozen = {id(role.model): role.model for role in others if id(role.model) not in ours}
    recompute(step, who)
    engine = who.policy.engine
    engine.adopt(trains, list(frozen.values()))
    if engine.name != "none":
        engines.check(job, engine, step.place.processes)


def units_of(step: Step, who: Cast) -> list[Unit]:
    """The policy and, where there is a critic, the value model and its head."""
    model, critic, adapter = who.trained.model, who.critic, who.trained.adapter
    make = partial(optimise.optimizer, step)
    own = named_adapter(model, adapter) if adapter else trainable.parameters(who.trained)
    policy = Unit(POLICY, {POLICY: model}, matrices_first(own), make)
    if critic is None:
        return [policy]
    last = (critic.role.adapters or ("",))[-1]
    theirs = named_adapter(model, last) if adapter else moving(critic.role.model)
    theirs |= {f"head.{name}": weight for name, weight in critic.head.named_parameters()}
    modules = {VALUE: critic.role.model, "head": critic.head}
    return [policy, Unit(VALUE, modules, matrices_first(theirs), make)]


def moving(model: Any) -> dict[str, Tensor]:
    """The weights that train, by name."""
    return {name: weight for name, weight in model.named_parameters() if weight.requires_grad}


def matrices_first(named: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights in the order of their optimizer's groups, in which the norm of the gradients is
    summed."""
    return dict(sorted(named.items(), key=lambda pair: pair[1].dim() < 2))


def named_adapter(model: Any, name: str) -> dict[str, Tensor]:
    """The weights of one adapter by name."""
    return {path: weight for path, weight in model.named_parameters() if f".{name}." in f"{path}."}
