"""`run` for reward_modeling: a scalar head learns which of two replies is preferred.

Bradley-Terry loss over pairs (losses.py), head in fp32, read at the last token. On our own loop
rather than TRL's RewardTrainer, for the reasons in sft.py and one more: the adapter sits on the
causal model, so that PPO can put it on the policy's own base. The head is no part of the adapter
and always trains (PEFT leaves it frozen in silence: accuracy 0.86 for 1.00, measured).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn

from tunelang.plan.ir import Step
from tunelang.train import (
    data,
    gauges,
    loop,
    losses,
    machine,
    mix,
    product,
    selfcheck,
    sft,
    speech,
    trainable,
)
from tunelang.train.data import Example, Split
from tunelang.train.evaluate import Lens
from tunelang.train.job import Job, fail
from tunelang.train.model import Loaded, load
from tunelang.train.scoring import scores, scores_of
from tunelang.train.speech import Speech
from tunelang.train.trainable import Trained

Metrics = dict[str, dict[str, float]]
NORMALISED_ON = 32  # chosen replies whose mean score becomes 0
SAME = {"fp32": 1e-3, "bf16": 0.25}  # scores of one row alone and in a batch, rounding apart


@dataclass(frozen=True)
class Pair:
    """Two replies to one prompt as tokens, prompt included; `margin` if the rows have one."""

    chosen: list[int]
    rejected: list[int]
    margin: float = 0.0

    @property
    def longest(self) -> int:
        return max(len(self.chosen), len(self.rejected))


@dataclass
class Tally:
    """Rows seen, and rows left out: too long, or with two equal replies."""

    seen: int = 0
    long: int = 0
    equal: int = 0


@dataclass(frozen=True)
class Writer:
    """How preference rows become pairs. A pair over `length` is left out, never cut: half a
    reply deserves another score than the whole."""

    speech: Speech
    length: int
    margin: bool
    tally: Tally = field(default_factory=Tally)

    def __call__(self, example: Example) -> list[Pair]:
        values, place = example.values, example.place
        self.tally.seen += 1
        prompt = values.get("prompt", "")
        asked = speech.instruction(
            {**values, "prompt": prompt}, turns=self.speech.template is not None
        )
        both = [
            speech.reply(self.speech, asked, values[role], place).ids
            for role in ("chosen", "rejected")
        ]
        if max(map(len, both)) > self.length:
            self.tally.long += 1
            return []
        if both[0] == both[1]:
            self.tally.equal += 1
            return []
        return [Pair(both[0], both[1], margin_of(values, place) if self.margin else 0.0)]


def margin_of(values: Any, place: str) -> float:
    """The row's margin; TL301 if it has none."""
    try:
        return float(values["margin"])
    except (KeyError, TypeError, ValueError):
        fail("TL301", "missing-column", f"{place}: margin = true, and the row has no margin")


@dataclass(frozen=True)
class Judge:
    """The model being trained and its head; `center` and `margin` as the recipe says.

    `shift` is added to every score before centering: a fresh head on wide hidden states can
    begin far from 0 (by 6 on SmolLM2), and would learn nothing but that at first.
    """

    trained: Trained
    head: nn.Linear
    lens: Lens
    center: float
    margin: bool
    shift: float = 0.0


def run(step: Step, job: Job) -> Metrics:
    """Train, measure before and after, normalise, and write the product."""
    job.phase("loading model")
    start = load(
        step.inputs["model"],
        job,
        precision=trainable.storage(step),
        quant=trainable.quantised(step),
    )
    job.phase("reading data")
    writer = Writer(
        Speech(start.tokenizer, start.template), step.length or 0, bool(step.fields.get("margin"))
    )
    parts = [data.encode(split, writer) for split in data.load(sft.mixture(step), job)]
    report(writer, job)
    data.need_rows(parts, step)
    data.tell_passes(parts, step, job)
    measured = data.spread(parts, job)
    gates = gauges.prepare(step, job, writer)
    judge = build(step, job, start)
    judge = check(job, judge, parts[0].train[: step.place.micro])

    def taken() -> dict[str, float]:
        own = measure(judge, measured)
        return own | gauges.measure(gates, own, lambda rows: measure(judge, rows))

    before = gauges.before(job, taken)
    job.measure("before", 0, before)
    series = loop.train(step, job, learn(step, judge, parts, data.glance(measured, job)))
    sft.settle(step, judge.trained)
    job.phase("measuring")
    metrics = {"before": before, "after": taken()}
    job.measure("after", loop.schedule_of(step).steps, metrics["after"])
    bias = -mean_chosen(judge, parts, job)
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
            head=judge.head.weight,
            bias=bias,
        ),
    )
    return metrics


def build(step: Step, job: Job, start: Loaded) -> Judge:
    """The trainable model and a fresh head: normal, std 1/sqrt(d + 1) (lm-human-preferences)."""
    machine.seed(step.seed)
    trained = trainable.make_trainable(start, sft.weights_of(step))
    sft.enable_recompute(step, trained)
    width = trained.model.config.hidden_size
    head = nn.Linear(width, 1, bias=False, dtype=torch.float32).to(job.device)
    nn.init.normal_(head.weight, std=(width + 1) ** -0.5)
    lens = Lens(step.precision, job.device, start.tokenizer.pad_token_id)
    margin = bool(step.fields.get("margin"))
    return Judge(trained, head, lens, float(step.fields.get("center", 0.0)), margin)


def learn(
    step: Step, judge: Judge, parts: Sequence[Split[Pair]], measured: Sequence[Pair]
) -> loop.Objective:
    """The objective: summed Bradley-Terry loss; one forward pass for both sides of a pair."""
    named = {
        **trainable.parameters(judge.trained),
        **{f"head.{name}": value for name, value in judge.head.named_parameters()},
    }
    return loop.Objective(
        {"model": judge.trained.model, "head": judge.head},
        named,
        lambda at: updates(step, parts, at),
        lambda micro: pair_loss(judge, micro, *both_scores(judge, micro)),
        lambda: measure(judge, measured),
    )


def both_scores(judge: Judge, pairs: Sequence[Pair]) -> tuple[Tensor, Tensor]:
    """Scores [P] of the chosen and [P] of the rejected replies."""
    ids = [pair.chosen for pair in pairs] + [pair.rejected for pair in pairs]
    both = scores(judge.trained.model, judge.head.weight, ids, judge.lens)
    return both[: len(pairs)], both[len(pairs) :]


def pair_loss(judge: Judge, pairs: Sequence[Pair], chosen: Tensor, rejected: Tensor) -> Tensor:
    """The summed loss of pairs, with margins if the recipe wants them."""
    margins = torch.tensor([pair.margin for pair in pairs], device=chosen.device)
    wanted = margins if judge.margin else None
    centered = (chosen + judge.shift, rejected + judge.shift)
    return losses.bradley_terry_sum(*centered, wanted, judge.center)


def updates(step: Step, parts: Sequence[Split[Pair]], at: int) -> Iterator[loop.Update]:
    """The updates from the `at`-th on; micro-batches hold pairs of like length."""
    sizes = [len(part.train) for part in parts]
    size, micro = sft.batch_of(step).size, step.place.micro
    stream = mix.draws(mix.shares(sft.mixture(step), sizes), sizes, step.seed)
    stream = islice(stream, at * size, None)
    while True:
        taken = [parts[part].train[row] for part, row in islice(stream, size)]
        taken.sort(key=lambda pair: pair.longest)
        micros = [taken[start : start + micro] for start in range(0, size, micro)]
        yield loop.Update(micros, float(size))


def measure(judge: Judge, pairs: Sequence[Pair]) -> dict[str, float]:
    """`accuracy` (ties count half), `loss` (no centering) and `margin` (mean gap) of pairs."""
    if not pairs:
        return {}
    model, head = judge.trained.model, judge.head.weight
    chosen = scores_of(model, head, [pair.chosen for pair in pairs], judge.lens)
    rejected = scores_of(model, head, [pair.rejected for pair in pairs], judge.lens)
    gap = chosen - rejected
    right = (gap > 0).float() + 0.5 * (gap == 0).float()
    loss = losses.bradley_terry_sum(chosen, rejected) / len(pairs)
    return {"accuracy": float(right.mean()), "loss": float(loss), "margin": float(gap.mean())}


def check(job: Job, judge: Judge, pairs: Sequence[Pair]) -> Judge:
    """The first loss fits its scores, and scores do not depend on their neighbours.

    Returns the judge with its scores shifted to begin around 0.
    """
    with torch.no_grad():
        chosen, rejected = both_scores(judge, pairs)
        alone = scores(judge.trained.model, judge.head.weight, [pairs[0].chosen], judge.lens)
    loss = losses.bradley_terry_sum(chosen, rejected) / len(pairs)
    selfcheck.first_pairs(job, float(loss), chosen - rejected)
    selfcheck.same_alone(job, alone, chosen[:1], SAME[judge.lens.precision])
    return replace(judge, shift=-float((chosen + rejected).mean()) / 2)


def mean_chosen(judge: Judge, parts: Sequence[Split[Pair]], job: Job) -> float:
    """The mean score of chosen training replies: subtracted from every score, so that 0 is
    what a preferred reply gets (lm-human-preferences normalises likewise)."""
    chosen = [pair.chosen for part in parts for pair in part.train]
    every = max(1, len(chosen) // NORMALISED_ON)
    taken = chosen[::every][:NORMALISED_ON]
    job.note(f"scores are shifted so that {len(taken)} preferred training replies average 0")
    found = scores_of(judge.trained.model, judge.head.weight, taken, judge.lens)
    return float(found.mean())


def report(writer: Writer, job: Job) -> None:
    """Say which pairs are left out."""
    tally = writer.tally
    if tally.long:
        job.note(
            f"{tally.long} of {tally.seen} pairs are left out: a side is longer than "
            f"{writer.length} tokens"
        )
    if tally.equal:
        job.note(f"{tally.equal} of {tally.seen} pairs are left out: both replies are the same")
