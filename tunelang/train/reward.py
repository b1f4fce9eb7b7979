"""`run` for reward_modeling: a scalar head learns which of several replies is preferred.

Bradley-Terry loss over the pairs of a list (losses.py), head in fp32, read at the last token. On
our own loop rather than TRL's RewardTrainer, for the reasons in sft.py and two more: it knows no
lists, and the adapter sits on the causal model, so that PPO can put it on the policy's own base.
The head is no part of the adapter and always trains (PEFT leaves it frozen in silence: accuracy
0.86 for 1.00, measured).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from tunelang.plan.ir import Step
from tunelang.train import (
    data,
    forward,
    gauges,
    loop,
    losses,
    product,
    reward_lists,
    selfcheck,
    stage,
    trainable,
)
from tunelang.train.data import Split
from tunelang.train.evaluate import Lens
from tunelang.train.job import Job
from tunelang.train.judge import (
    Judge,
    all_scores,
    calibrated,
    list_loss,
    measure,
    paired,
    scored,
)
from tunelang.train.material import mixture
from tunelang.train.model import Loaded
from tunelang.train.reward_lists import Comparison, Writer
from tunelang.train.scoring import scores
from tunelang.train.speech import Speech
from tunelang.train.stage import Metrics
from tunelang.train.trainable import Trained

NORMALISED_ON = 32  # training rows whose scores say what 0, and 1, is
SAME = {"fp32": 1e-3, "bf16": 0.25}  # scores of one row alone and in a batch, rounding apart


def run(step: Step, job: Job) -> Metrics:
    """Train, measure before and after, normalise, and write the product."""
    start = stage.begin(step, job)
    job.phase("reading data")
    writer = written_by(step, start)
    parts = [data.encode(split, writer) for split in data.load(mixture(step), job)]
    reward_lists.report(writer, job)
    data.need_rows(parts, step)
    data.tell_passes(parts, step, job)
    measured = data.spread(parts, job)
    gates = gauges.prepare(step, job, written_by(step, start))
    judge = build(step, job, start)
    few = data.glance(measured, job)
    training = loop.ready(step, job, learn(step, judge, parts, few))
    judge = training.compute(lambda: check(job, judge, parts[0].train[: step.place.micro]))
    training = replace(training, objective=replace(training.objective, **lossy(judge, few)))

    def taken(judge: Judge) -> dict[str, float]:
        own = measure(judge, measured)
        return own | gauges.measure(gates, own, lambda rows: measure(judge, rows))

    before = stage.before(job, lambda: training.compute(lambda: taken(judge)))
    series = loop.run(training)
    stage.settle(step, judge.trained, training.engine)
    judge, bias = training.compute(lambda: normalise(step, judge, parts, job))
    metrics = stage.after(step, job, before, lambda: training.compute(lambda: taken(judge)))
    page = training.compute(lambda: calibrated(judge, measured))
    weights = training.weights(judge.trained)
    head = judge.weight if weights is None else weights["head.weight"] * judge.gain
    product.write(
        step,
        job,
        product.Finished(
            judge.trained,
            start.tokenizer,
            start.origin,
            metrics,
            start.template,
            series=series,
            head=head,
            bias=bias,
            reports={"calibration.json": page},
            weights=weights,
        ),
    )
    return metrics


def written_by(step: Step, start: Loaded) -> Writer:
    """A writer with a count of its own."""
    return Writer(
        Speech(start.tokenizer, start.template),
        step.length or 0,
        bool(step.fields.get("margin")),
        best_of(step),
    )


def best_of(step: Step) -> bool:
    return bool(step.fields.get("loss") == "best_of")


def build(step: Step, job: Job, start: Loaded) -> Judge:
    """The trainable model and a fresh head: normal, std 1/sqrt(d + 1) (lm-human-preferences)."""
    trained = stage.make(step, start)
    rest_unread(trained)
    width = trained.model.config.hidden_size
    head = nn.Linear(width, 1, bias=False, dtype=torch.float32).to(job.device)
    nn.init.normal_(head.weight, std=(width + 1) ** -0.5)
    lens = Lens(step.precision, job.device, start.tokenizer.pad_token_id)
    margin, center = bool(step.fields.get("margin")), float(step.fields.get("center", 0.0))
    return Judge(trained, head, lens, center, margin, best_of(step))


def rest_unread(trained: Trained) -> None:
    """An output layer of its own is read by no score: it does not train, nor does it decay."""
    output = forward.causal(trained.model).get_output_embeddings()
    ours = forward.causal(trained.model).get_input_embeddings().weight
    if output is not None and output.weight is not ours:
        output.weight.requires_grad_(False)


def learn(
    step: Step, judge: Judge, parts: Sequence[Split[Comparison]], measured: Sequence[Comparison]
) -> loop.Objective:
    """The objective: summed loss of lists; one forward pass for all replies of a micro-batch."""
    named = {
        **trainable.parameters(judge.trained),
        **{f"head.{name}": value for name, value in judge.head.named_parameters()},
    }
    return loop.Objective(
        {"model": judge.trained.model, "head": judge.head},
        named,
        lambda at: updates(step, parts, at),
        **lossy(judge, measured),
    )


def lossy(judge: Judge, measured: Sequence[Comparison]) -> dict[str, Any]:
    """What of the objective depends on the judge's shift."""
    return {
        "loss": lambda micro: list_loss(judge, micro, scored(judge, micro)),
        "measure": lambda: measure(judge, measured),
    }


def updates(step: Step, parts: Sequence[Split[Comparison]], at: int) -> Iterator[loop.Update]:
    """The updates from the `at`-th on. A micro-batch holds as many replies as its number of pairs
    would have: lists are longer, and memory was planned for pairs."""
    for taken in stage.drawn(step, parts, at):
        room = 2 * step.place.micro
        micros = stage.micros(taken, room, lambda one: one.longest, lambda one: len(one.replies))
        yield loop.Update(micros, float(len(taken)))


def check(job: Job, judge: Judge, lists: Sequence[Comparison]) -> Judge:
    """The first loss fits its scores, and scores do not depend on their neighbours.

    Returns the judge with its scores shifted to begin around 0.
    """
    with torch.no_grad():
        found = scored(judge, lists)
        alone = scores(judge.trained.model, judge.head.weight, lists[0].replies[:1], judge.lens)
    better, worse, weight = paired(lists, found)
    loss = losses.bradley_terry_sum(better, worse, weight=weight) / len(lists)
    selfcheck.first_pairs(job, float(loss), (better - worse) * weight * len(better) / len(lists))
    selfcheck.same_alone(job, alone, found[0][:1], SAME[judge.lens.precision])
    head = judge.head.weight
    fits = head.dtype == torch.float32 and head.requires_grad
    trouble = ("the head is not held in fp32, or does not train", "")
    job.check("head-trains-in-fp32", float(fits), fits, trouble)
    return replace(judge, shift=-float((better + worse).mean()) / 2)


def normalise(
    step: Step, judge: Judge, parts: Sequence[Split[Comparison]], job: Job
) -> tuple[Judge, float]:
    """The judge with its scale set, and the bias that sets its zero.

    `mean`: preferred training replies average 0 (InstructGPT, arXiv 2203.02155 section 3.5, has its
    demonstrations average 0). `mean_and_variance`: all training replies have mean 0 and variance
    1 (lm-human-preferences, `rewards.py`); the head is kept scaled, so that every reader sees it.
    """
    rows = [one for part in parts for one in part.train]
    rows = rows[:: max(1, len(rows) // NORMALISED_ON)][:NORMALISED_ON]
    found = all_scores(judge, rows)
    if step.fields.get("normalize", "mean") == "mean":
        job.note(f"scores are shifted so that {len(rows)} preferred training replies average 0")
        best = [own[better_most(one)] for one, own in zip(rows, found, strict=True)]
        return judge, -float(torch.stack(best).mean())
    every = torch.cat(found)
    spread = float(every.std(correction=0))
    gain = 1 / spread if spread > 0 else 1.0
    job.note(
        f"scores are multiplied by {gain:.3g} and shifted so that {len(every)} training replies "
        "have mean 0 and variance 1"
    )
    return replace(judge, gain=gain), -float(every.mean()) * gain


def better_most(one: Comparison) -> int:
    """The reply that wins the most pairs of its list, the first of several."""
    wins = [better for better, _worse in one.pairs]
    return max(range(len(one.replies)), key=wins.count)
