"""`run` for few_shot by tuning: T-Few's three losses over questions with choices.

L = L_LM + L_UL + L_LN (Liu et al. 2022, arXiv 2205.05638; tfew_losses.py), each over its own count
in the whole accumulated batch. The paper's Adafactor without momentum is AdamW here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from tunelang.plan.ir import Step
from tunelang.train import (
    choosing,
    data,
    evaluate,
    gauges,
    loop,
    product,
    questions,
    samples,
    selfcheck,
    stage,
    tfew_losses,
    trainable,
)
from tunelang.train import speech as spoken
from tunelang.train.choosing import Choices
from tunelang.train.data import Example, Split
from tunelang.train.evaluate import Lens
from tunelang.train.job import Job, fail
from tunelang.train.material import mixture
from tunelang.train.questions import Asking, Question
from tunelang.train.speech import Speech
from tunelang.train.stage import Metrics

SAME = {"fp32": 1e-3, "bf16": 0.25}  # a choice's score alone and in a batch, rounding apart


@dataclass
class Tally:
    """Questions seen, and those left out because a choice does not fit."""

    seen: int = 0
    long: int = 0


@dataclass(frozen=True)
class Writer:
    """How rows become questions in tokens. One over `length` is left out, never cut: half an
    answer is another answer."""

    asking: Asking
    length: int
    tally: Tally = field(default_factory=Tally)

    def __call__(self, example: Example) -> list[Choices]:
        self.tally.seen += 1
        made = tokens_of(self.asking.speech, questions.question(self.asking, example))
        if made.longest > self.length:
            self.tally.long += 1
            return []
        return [made]


@dataclass(frozen=True)
class Micro:
    """Questions of one forward pass; `counts` are of the whole update: tokens of right answers,
    tokens of wrong ones, questions."""

    asked: Sequence[Choices]
    counts: tuple[int, int, int]


@dataclass(frozen=True)
class Weighing:
    """The weights of the losses over wrong tokens and over whole choices."""

    unlikelihood: float
    length_normalised: float


def tokens_of(speech: Speech, one: Question) -> Choices:
    """A question with each of its choices as a token row; what ends a reply is part of it."""
    answers = one.choices or (one.answer,)
    rows = [spoken.row(speech, one.prompt, text, one.place) for text in answers]
    return Choices(rows, one.right if one.choices else 0)


def run(step: Step, job: Job) -> Metrics:
    """Train, measure before and after, and write the product."""
    start = stage.begin(step, job)
    speech = Speech(start.tokenizer, start.template)
    lens = Lens(step.precision, job.device, start.tokenizer.pad_token_id)
    job.phase("reading data")
    loaded = data.load(mixture(step), job)
    writer = Writer(questions.asking(speech, loaded, step.fields["mode"], job), step.length or 0)
    parts = [data.encode(split, writer) for split in loaded]
    report(writer, job, step)
    data.need_rows(parts, step)
    data.tell_passes(parts, step, job)
    questions.tell_doubles(loaded, writer.asking, job)
    measured = data.spread(parts, job)
    gates = gauges.prepare(step, job, Writer(writer.asking, writer.length))
    check(job, start.model, parts, speech, lens)

    def taken(model: Any) -> dict[str, float]:
        own = measure(model, measured, lens)
        return own | gauges.measure(gates, own, lambda rows: measure(model, rows, lens))

    before = stage.before(job, lambda: taken(start.model))
    asked = samples.Asked(speech, prompts(loaded, writer.asking), lens)
    first = samples.first(job, start.model, asked)
    trained = stage.make(step, start)
    few = data.glance(measured, job)
    series = loop.train(step, job, learn(step, trained, parts, few, lens))
    stage.settle(step, trained)
    metrics = stage.after(step, job, before, lambda: taken(trained.model))
    shown = samples.compare(job, trained.model, asked, first)
    product.write(
        step,
        job,
        product.Finished(
            trained,
            start.tokenizer,
            start.origin,
            metrics,
            start.template,
            samples=shown,
            series=series,
        ),
    )
    return metrics


def prompts(loaded: Sequence[Split[Example]], asking: Asking) -> list[Any]:
    """What held-out rows ask, for samples."""
    return [questions.question(asking, row).prompt for split in loaded for row in split.held_out]


def learn(
    step: Step,
    trained: trainable.Trained,
    parts: Sequence[Split[Choices]],
    measured: Sequence[Choices],
    lens: Lens,
) -> loop.Objective:
    """The objective: the weighted sum of the three losses, each over its count."""
    mode = step.fields["mode"]
    weighing = Weighing(float(mode["unlikelihood"]), float(mode["length_normalised"]))
    return loop.Objective(
        {"model": trained.model},
        trainable.parameters(trained),
        lambda at: updates(step, parts, at),
        lambda micro: loss(trained.model, micro, weighing, lens),
        lambda: measure(trained.model, measured, lens),
    )


def loss(model: Any, micro: Micro, weighing: Weighing, lens: Lens) -> Tensor:
    """This micro-batch's part of L_LM + L_UL + L_LN."""
    scores, owner = choosing.token_scores(model, micro.asked, lens)
    sizes = [len(one.rows) for one in micro.asked]
    right = torch.zeros(sum(sizes), dtype=torch.bool, device=scores.device)
    starts = [sum(sizes[:at]) for at in range(len(sizes))]
    right[[start + one.right for start, one in zip(starts, micro.asked, strict=True)]] = True
    tokens, wrong, asked = micro.counts
    total = tfew_losses.language_sum(scores, owner, right) / tokens
    if weighing.unlikelihood and wrong:
        unlike = tfew_losses.unlikelihood_sum(scores, owner, right)
        total = total + weighing.unlikelihood * unlike / wrong
    if weighing.length_normalised:
        beta = choosing.means(scores, owner, sum(sizes))
        places = [one.right for one in micro.asked]
        chosen = tfew_losses.length_normalised_sum(beta, sizes, places)
        total = total + weighing.length_normalised * chosen / asked
    return total


def updates(step: Step, parts: Sequence[Split[Choices]], at: int) -> Iterator[loop.Update]:
    """The updates from the `at`-th on; the losses are over their own counts already."""
    for taken in stage.drawn(step, parts, at):
        yield loop.Update(micros(taken, step.place.micro), 1.0)


def micros(taken: Sequence[Choices], most: int) -> list[Micro]:
    """At most `most` sequences at once, with the counts of the whole update."""
    found = stage.micros(taken, most, lambda one: one.longest, lambda one: len(one.rows))
    return [Micro(few, counted(taken)) for few in found]


def counted(taken: Sequence[Choices]) -> tuple[int, int, int]:
    """Tokens of right answers, tokens of wrong ones, questions."""
    right = sum(one.supervised for one in taken)
    every = sum(row.supervised for one in taken for row in one.rows)
    return right, every - right, len(taken)


def measure(model: Any, asked: Sequence[Choices], lens: Lens) -> dict[str, float]:
    """Loss, perplexity and token accuracy of right answers, accuracy among choices."""
    own = evaluate.measure(model, [one.rows[one.right] for one in asked], lens)
    return own | choosing.accuracy(model, asked, lens)


def check(
    job: Job, model: Any, parts: Sequence[Split[Choices]], speech: Speech, lens: Lens
) -> None:
    """Masks are as meant, and a choice's score does not depend on the rows beside it."""
    few = [one for part in parts for one in part.train]
    selfcheck.masks(job, [one.rows[one.right] for one in few], speech.stop, replies=True)
    with torch.no_grad():
        together = beta(model, few[:2], lens)
        alone = beta(model, [Choices([few[0].rows[0]], 0)], lens)
    selfcheck.same_alone(job, alone, together[:1], SAME[lens.precision])


def beta(model: Any, asked: Sequence[Choices], lens: Lens) -> Tensor:
    """The mean log-probability of every choice."""
    scores, owner = choosing.token_scores(model, asked, lens)
    return choosing.means(scores, owner, sum(len(one.rows) for one in asked))


def report(writer: Writer, job: Job, step: Step) -> None:
    """Say which questions are left out; TL310 when all are."""
    tally = writer.tally
    if tally.long == tally.seen:
        fail(
            "TL310",
            "cut-before-answer",
            f"no question of `{step.name}` fits with its choices into {writer.length} tokens",
            "raise length",
        )
    if tally.long:
        job.note(
            f"{tally.long} of {tally.seen} questions are left out: longer than {writer.length} "
            "tokens with one of their choices"
        )
