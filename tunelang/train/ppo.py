"""`run` for ppo: sample, score, and raise the score within a KL leash.

Ours, because TRL removed its PPO (1.13). Schulman et al. 2017 (arXiv 1707.06347), Ziegler et al.
2019 (arXiv 1909.08593), details of arXiv 2403.17031. Dropout is off, every role is exact, and a
run that is stopped goes on bit for bit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from tunelang.plan.ir import Step
from tunelang.train import (
    checkpoint,
    data,
    evaluate,
    gauges,
    loop,
    machine,
    mix,
    optimise,
    policy_checks,
    product,
    rows,
    samples,
    sft,
    trainable,
)
from tunelang.train.checkpoint import Parts
from tunelang.train.experience import (
    Experience,
    Stats,
    experience,
    learn,
    settings_of,
)
from tunelang.train.job import Job
from tunelang.train.model import load
from tunelang.train.policy_losses import steered
from tunelang.train.policy_run import Asked, Run, State, draw, judged, measure, switch
from tunelang.train.roles import Cast, cast, speaking
from tunelang.train.speech import Speech, prompt

Metrics = dict[str, dict[str, float]]


def run(step: Step, job: Job) -> Metrics:
    """Train the policy; measure it on held-out prompts before and after; write the product."""
    job.phase("loading model")
    start = load(
        step.inputs["policy"],
        job,
        precision=trainable.storage(step),
        quant=trainable.quantised(step),
    )
    speech = Speech(start.tokenizer, start.template)
    job.phase("reading data")
    parts = prompts(step, job, speech)
    measured = data.spread(parts, job)
    machine.seed(step.seed)
    who = cast(step, job, start, speech)
    this = prepare(step, job, who, (parts, frozenset(speech.stop)))
    gates = gauges.prepare(step, job, rows.Writer(speech, step.length or 0, "reply"))
    before = gauges.before(job, lambda: taken(this, gates, measured))
    job.measure("before", 0, before)
    asked = samples.Asked(speech, [one.words for one in measured], who.lens)
    with speaking(who.policy) as model:  # still the start: a checkpoint is restored in `train`
        first = samples.first(job, model, asked)
    train(this, data.glance(measured, job))
    sft.settle(step, who.trained)
    job.phase("measuring")
    metrics = {"before": before, "after": taken(this, gates, measured)}
    job.measure("after", this.state.at, metrics["after"])
    with speaking(who.policy) as model:
        shown = samples.compare(job, model, asked, first)
    done = product.Finished(
        who.trained,
        start.tokenizer,
        start.origin,
        metrics,
        speech.template,
        samples=shown,
        series=this.state.series,
    )
    product.write(step, job, done)
    return metrics


def taken(this: Run, gates: list[gauges.Gauge], measured: Sequence[Asked]) -> dict[str, float]:
    """The stage's own metrics; under a gate's words, those of the policy on the gate's rows."""
    own = measure(this, measured)
    with speaking(this.who.policy) as model:
        return own | gauges.measure(
            gates, own, lambda part: evaluate.measure(model, part, this.who.lens)
        )


def prompts(step: Step, job: Job, speech: Speech) -> list[data.Split[Asked]]:
    """Prompts as tokens; one that is longer than `length` is left out, and that is said."""
    left_out = 0
    length = step.length or 0

    def write(example: data.Example) -> list[Asked]:
        nonlocal left_out
        words = rows.asked(example, turns=speech.template is not None)
        ids = prompt(speech, words, example.place) if words is not None else []
        if not ids or len(ids) > length:
            left_out += 1
            return []
        return [Asked(words, ids)]

    parts = [data.encode(split, write) for split in data.load(sft.mixture(step), job)]
    if left_out:
        job.note(f"{left_out} prompts are left out: empty, or longer than {length} tokens")
    data.need_rows(parts, step)
    return parts


def prepare(
    step: Step, job: Job, who: Cast, asked: tuple[list[data.Split[Asked]], frozenset[int]]
) -> Run:
    """Optimizers for policy and value, each with its own rate."""
    if step.schedule is None:
        msg = f"step {step.name} has no schedule"
        raise ValueError(msg)
    model, critic = who.trained.model, who.critic
    if who.trained.adapter:
        own = named_adapter(model, who.trained.adapter)
        theirs = named_adapter(model, (critic.role.adapters or ("",))[-1])
    else:
        own, theirs = trainable.parameters(who.trained), dict(critic.role.model.named_parameters())
    theirs |= {f"head.{name}": weight for name, weight in critic.head.named_parameters()}
    optimizers = {
        "policy": optimise.optimizer(step, own),
        "value": optimise.optimizer(step, theirs),
    }
    settings = settings_of(step.fields, step.place.micro)
    state = State(float(step.fields["kl"]["coefficient"]))
    return Run(step, job, step.schedule, who, settings, asked[0], asked[1], optimizers, state)


def named_adapter(model: Any, name: str) -> dict[str, Tensor]:
    """The weights of one adapter by name."""
    return {path: weight for path, weight in model.named_parameters() if f".{name}." in f"{path}."}


def train(this: Run, measured: Sequence[Asked]) -> None:
    """All iterations of the schedule, from the newest checkpoint on."""
    parts = checkpoint_parts(this)
    if this.job.resume is not None:
        noted = checkpoint.restore(this.job.resume, parts)
        this.state.at = this.job.resume.at
        this.state.coefficient, this.state.strained = noted["coefficient"], noted["strained"]
        this.state.series = noted["series"]
    this.job.phase("training")
    this.job.polls_stop.set()
    switch(this)
    stream = asked_from(this, this.state.at)
    while this.state.at < this.schedule.steps:
        iteration(this, [next(stream) for _ in range(sft.batch_of(this.step).size)])
        keep(this, parts, measured)
    this.job.polls_stop.clear()


def checkpoint_parts(this: Run) -> Parts:
    """What a checkpoint holds: policy, value model and head, both optimizers."""
    modules = {"policy": this.who.trained.model, "head": this.who.critic.head}
    if this.who.critic.role.model is not this.who.trained.model:
        modules["value"] = this.who.critic.role.model
    return Parts(modules, this.optimizers)


def asked_from(this: Run, at: int) -> Iterator[Asked]:
    """Prompts in the mix's own order, from iteration `at` on: a function of the seed alone."""
    sizes = [len(part.train) for part in this.parts]
    stream = mix.draws(mix.shares(sft.mixture(this.step), sizes), sizes, this.step.seed)
    for part, row in islice(stream, at * sft.batch_of(this.step).size, None):
        yield this.parts[part].train[row]


def iteration(this: Run, asked: Sequence[Asked]) -> None:
    """One rollout and the updates on it."""
    state, step = this.state, this.step
    for name, peak in (("policy", step.lr or 0.0), ("value", float(this.fields["value"]["lr"]))):
        optimise.set_rate(this.optimizers[name], optimise.rate(this.schedule, peak, state.at))
    episodes = draw(this, asked, step.seed * 7919 + state.at * 101)
    scores = judged(this, episodes)
    policy_checks.rewards_are_finite(this, scores)
    found = experience(this.who, episodes, scores, state.coefficient, this.settings)
    if state.at == 0:
        policy_checks.begins_at_reference(this, found)
    order = torch.Generator().manual_seed(step.seed * 31 + state.at)
    stats = learn(this.who, found, list(this.optimizers.values()), this.settings, order)
    if state.at == 0:
        policy_checks.first_ratio_is_one(this, stats)
    state.at += 1
    tell(this, found, stats)
    policy_checks.leash(this, found)
    steer(this, found.kl)


def tell(this: Run, found: Experience, stats: Stats) -> None:
    """Report the iteration; keep it for the series."""
    lengths = found.mask.sum(1).float()
    metrics = {
        "reward": float(found.scores.mean()),
        "kl": found.kl,
        "kl_coefficient": this.state.coefficient,
        **stats.means(),
        "mean_length": float(lengths.mean()),
        "ended": sum(row.ended for row in found.rows) / len(found.rows),
    }
    this.state.series.append({"at": this.state.at, **metrics})
    this.job.emit(
        {"event": "progress", "at": this.state.at, "of": this.schedule.steps, "metrics": metrics}
    )


def steer(this: Run, kl: float) -> None:
    """Adapt the KL coefficient where the recipe names a target."""
    target = this.fields["kl"]["target"]
    if target is not None:
        share = sft.batch_of(this.step).size / float(this.fields["kl"]["horizon"])
        this.state.coefficient = steered(this.state.coefficient, kl, float(target), share)


def keep(this: Run, parts: Parts, measured: Sequence[Asked]) -> None:
    """Measure, checkpoint and stop where it is time to."""
    state, job = this.state, this.job
    last = state.at == this.schedule.steps
    if loop.due(this.schedule.eval_every, state.at) and not last and measured:
        job.measure("during", state.at, measure(this, measured))
    stopping = job.stop.is_set()
    if (loop.due(this.schedule.save_every, state.at) and not last) or stopping:
        parts.values.update(
            coefficient=state.coefficient, strained=state.strained, series=state.series
        )
        checkpoint.save(job, state.at, parts)
    if stopping:
        raise KeyboardInterrupt
