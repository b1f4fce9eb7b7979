"""The loop of ppo, grpo and rloo: sample, score, learn, measure, keep; an algorithm at its heart.

Dropout is off, every role is exact, and a run that is killed, inside an iteration too, goes on bit
for bit: an iteration is a function of the weights, optimizers and numbers of its checkpoint.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice, repeat

import torch
from torch import Tensor

from tunelang.plan.ir import Step
from tunelang.train import (
    checkpoint,
    data,
    engines,
    evaluate,
    gauges,
    loop,
    machine,
    mix,
    optimise,
    policy_checks,
    policy_setup,
    product,
    rows,
    samples,
    stage,
)
from tunelang.train.casting import cast
from tunelang.train.checkpoint import Parts
from tunelang.train.experience import Algorithm, Learner, Rollout, learn, rollout, units
from tunelang.train.job import Job
from tunelang.train.material import mixture
from tunelang.train.policy_losses import steered
from tunelang.train.policy_run import Asked, Run, draw, judged, measure, switch
from tunelang.train.policy_stats import Stats
from tunelang.train.roles import POLICY, whole
from tunelang.train.speech import Speech
from tunelang.train.stage import Metrics


def run(step: Step, job: Job, algorithm: Algorithm) -> Metrics:
    """Train the policy; measure it on held-out prompts before and after; write the product."""
    start = stage.begin(step, job, "policy")
    speech = Speech(start.tokenizer, start.template)
    job.phase("reading data")
    parts = policy_setup.prompts(step, job, speech)
    measured = data.spread(parts, job)
    machine.seed(step.seed)
    who = cast(step, job, start, speech, engines.of(step, job))
    this = policy_setup.prepare(step, job, who, (algorithm, speech, parts))
    gates = gauges.prepare(step, job, rows.Writer(speech, step.length or 0, "reply"))
    before = stage.before(job, lambda: taken(this, gates, measured))
    asked = samples.Asked(speech, [one.words for one in measured], who.lens)
    with whole(who.policy) as model:  # still the start: a checkpoint is restored in `train`
        first = samples.first(job, model, asked)
    train(this, data.glance(measured, job))
    stage.settle(step, who.trained, this.engine)
    metrics = stage.after(step, job, before, lambda: taken(this, gates, measured))
    with whole(who.policy) as model:
        shown = samples.compare(job, model, asked, first)
    done = product.Finished(
        who.trained,
        start.tokenizer,
        start.origin,
        metrics,
        speech.template,
        samples=shown,
        series=this.state.series,
        weights=weights(this),
    )
    product.write(step, job, done)
    return metrics


def weights(this: Run) -> dict[str, Tensor] | None:
    """The policy's, whole, where its model holds a shard of them. Every process calls it."""
    return None if this.engine.name in engines.WHOLE else dict(this.engine.masters(POLICY))


def taken(this: Run, gates: list[gauges.Gauge], measured: Sequence[Asked]) -> dict[str, float]:
    """The stage's own metrics; under a gate's words, those of the policy on the gate's rows."""
    own, policy = measure(this, measured), this.who.policy
    with torch.no_grad():  # an engine has to know that nothing comes back
        return own | gauges.measure(
            gates,
            own,
            lambda part: policy.compute(lambda model: evaluate.measure(model, part, this.who.lens)),
        )


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
        iteration(this, [next(stream) for _ in range(stage.batch_of(this.step).size)])
        keep(this, parts, measured)
    this.job.polls_stop.clear()


def checkpoint_parts(this: Run) -> Parts:
    """What a checkpoint holds: policy, value model and head, both optimizers."""
    modules, critic = {"policy": this.who.trained.model}, this.who.critic
    if critic is not None:
        modules["head"] = critic.head
        if critic.role.model is not this.who.trained.model:
            modules["value"] = critic.role.model
    optimizers = {unit: this.engine.optimizer(unit) for unit in units(this.who)}
    return Parts(modules, optimizers, engine=this.engine)


def asked_from(this: Run, at: int) -> Iterator[Asked]:
    """Prompts in the mix's own order, from iteration `at` on: a function of the seed alone.

    Each comes as often in a row as it is replied to.
    """
    parts = [part.train for part in this.parts]
    stream = mix.stream(mixture(this.step), parts, this.step.seed)
    for part, row in islice(stream, at * stage.batch_of(this.step).size // this.group, None):
        yield from repeat(this.parts[part].train[row], this.group)


def iteration(this: Run, asked: Sequence[Asked]) -> None:
    """One rollout and the updates on it."""
    state, step = this.state, this.step
    for unit in units(this.who):
        peak = step.lr or 0.0 if unit == POLICY else float(this.fields["value"]["lr"])
        rate = optimise.rate(this.schedule, peak, state.at)
        optimise.set_rate(this.engine.optimizer(unit), rate)
    episodes = draw(this, asked, step.seed * 7919 + state.at * 101)
    scores = judged(this, asked, episodes)
    policy_checks.rewards_are_finite(this, scores)
    found = rollout(this.who, episodes, scores, state.coefficient, this.settings)
    if state.at == 0:
        policy_checks.trained_as_drawn(this, found)
        policy_checks.begins_at_reference(this, found)
    stats = learn(this.who, this.algorithm.experience(this.who, found), learner(this))
    if state.at == 0:
        policy_checks.first_ratio_is_one(this, stats)
    state.at += 1
    tell(this, found, stats)
    policy_checks.leash(this, found)
    steer(this, found.kl)


def learner(this: Run) -> Learner:
    """How this iteration learns: its order and its texts are functions of seed and number."""
    at, texts = this.state.at, this.texts
    order = torch.Generator().manual_seed(this.step.seed * 31 + at)
    before = at * this.settings.epochs * this.settings.minibatches

    def beside(update: int) -> float:
        assert texts is not None
        return texts.backward(this.who, before + update)

    return Learner(this.algorithm, order, beside if texts else None)


def tell(this: Run, found: Rollout, stats: Stats) -> None:
    """Report the iteration; keep it for the series."""
    lengths, group = found.mask.sum(1).float(), found.scores.view(-1, this.group)
    metrics = {
        "reward": float(found.scores.mean()),
        "kl": found.kl,
        "kl_coefficient": this.state.coefficient,
        **stats.means(),
        "mean_length": float(lengths.mean()),
        "ended": sum(row.ended for row in found.rows) / len(found.rows),
    }
    if this.group > 1:  # replies that score alike teach nothing (arXiv 2503.14476, section 3.2)
        flat = group.max(dim=1).values == group.min(dim=1).values
        metrics["flat_groups"] = float(flat.float().mean())
    this.state.series.append({"at": this.state.at, **metrics})
    this.job.emit(
        {"event": "progress", "at": this.state.at, "of": this.schedule.steps, "metrics": metrics}
    )


def steer(this: Run, kl: float) -> None:
    """Adapt the KL coefficient where the recipe names a target."""
    target = this.fields["kl"]["target"]
    if target is not None:
        share = stage.batch_of(this.step).size / float(this.fields["kl"]["horizon"])
        this.state.coefficient = steered(this.state.coefficient, kl, float(target), share)


def keep(this: Run, parts: Parts, measured: Sequence[Asked]) -> None:
    """Measure, checkpoint and stop where it is time to."""
    state, job = this.state, this.job
    last = state.at == this.schedule.steps
    if loop.due(this.schedule.eval_every, state.at) and not last and measured:
        job.measure("during", state.at, measure(this, measured))
    stopping = bool(this.engine.total([float(job.stop.is_set())])[0])  # all stop, or none
    if (loop.due(this.schedule.save_every, state.at) and not last) or stopping:
        parts.values.update(
            coefficient=state.coefficient, strained=state.strained, series=state.series
        )
        checkpoint.save(job, state.at, parts)
    if stopping:
        raise KeyboardInterrupt
