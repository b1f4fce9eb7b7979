"""DoReMi: shares of the tasks of a mix, found by training a proxy where it lags a reference most.

Xie et al. 2023 (arXiv 2305.10429), Algorithm 1. A reference is trained on the mix as written; a
proxy of the same start is trained on batches drawn evenly over the tasks, each task's loss weighted
by alpha; alpha grows by exp(eta x excess), the excess being what the proxy loses more than the
reference. The mean alpha over the updates are the shares. As alpha weighs the mean loss of a task's
tokens, they are shares of tokens.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from tunelang.plan.ir import Mixture, Schedule, Step
from tunelang.plan.shares import of_tokens, whole
from tunelang.run.store import write_json
from tunelang.train import forward, loop, mix, optimise, sft, stage, trainable
from tunelang.train.data import Split
from tunelang.train.engines.engine import Unit
from tunelang.train.engines.single import Single
from tunelang.train.evaluate import Lens
from tunelang.train.forward import Row
from tunelang.train.job import Job
from tunelang.train.trainable import Trained

PAGE = "shares.json"
Drawn = tuple[int, int]  # the number of a task, and of a row in it


@dataclass(frozen=True)
class Found:
    """Shares of tokens by task: `reference` as the mix says, `shares` the mean of `course`."""

    tasks: list[str]
    reference: list[float]
    shares: list[float]
    course: list[list[float]]


@dataclass(frozen=True)
class Search:
    """What both models train on, and a way to begin one afresh."""

    step: Step
    job: Job
    parts: Sequence[Split[Row]]
    lens: Lens
    begin: Callable[[], Trained]

    @property
    def updates(self) -> int:
        return int(self.step.fields["shares"]["train"])

    @property
    def schedule(self) -> Schedule:
        """The step's schedule over the updates of the search; it writes and measures nothing."""
        own = loop.schedule_of(self.step)
        warmup = math.ceil(own.warmup * self.updates / own.steps)
        return own.model_copy(update={"steps": self.updates, "warmup": warmup})


def reweighted(
    alpha: Sequence[float], excess: Sequence[float], eta: float, smoothing: float
) -> list[float]:
    """alpha' = alpha exp(eta excess), normalised; (1 - c) alpha' + c / k (Algorithm 1)."""
    grown = whole([a * math.exp(eta * e) for a, e in zip(alpha, excess, strict=True)])
    return [(1 - smoothing) * a + smoothing / len(alpha) for a in grown]


def excess_of(proxy: Tensor, reference: Tensor, task: Tensor, tasks: int) -> list[float]:
    """The mean of max(loss - reference loss, 0) over each task's tokens; all [N] -> [tasks].

    0 for a task without a token here: its weight stays as it was before all are normalised.
    """
    above = (proxy - reference).clamp(min=0).double()
    sums = torch.zeros(tasks, dtype=torch.float64, device=above.device).index_add_(0, task, above)
    counts = torch.bincount(task, minlength=tasks).clamp(min=1)
    return [float(each) for each in sums / counts]


def mean(course: Sequence[Sequence[float]]) -> list[float]:
    """The average weights over the updates."""
    return [sum(column) / len(course) for column in zip(*course, strict=True)]


def found(search: Search) -> Found:
    """The shares, searched once: a step that is resumed reads what the first run noted."""
    path = search.job.work / PAGE
    if path.is_file():
        return Found(**json.loads(path.read_text("utf-8")))
    search.job.phase("searching shares: reference")
    reference = reference_losses(search)
    search.job.phase("searching shares: proxy")
    course = proxy_course(search, reference)
    counted = [sum(map(mix.tokens, part.train)) for part in search.parts]
    names = [part.name for part in search.parts]
    sizes = [len(part.train) for part in search.parts]
    written = of_tokens(sft.mixture(search.step), sizes, counted)
    made = Found(names, written, mean(course), course)
    write_json(path, vars(made))
    return made


def drawn(search: Search) -> Iterator[list[Drawn]]:
    """The rows of every update of the proxy: evenly over the tasks, in an order of the seed."""
    even = [1 / len(search.parts)] * len(search.parts)
    sizes = [len(part.train) for part in search.parts]
    stream = mix.draws(even, sizes, search.step.seed)
    for _ in range(search.updates):
        yield list(islice(stream, stage.batch_of(search.step).size))


def reference_losses(search: Search) -> dict[Drawn, Tensor]:
    """Train the reference on the mix as written; its loss [T] on each token the proxy will see."""
    trained = search.begin()

    def loss(micro: Sequence[Row]) -> Tensor:
        with forward.autocast(search.lens.precision, search.lens.device):
            batch = forward.collate(micro, search.lens.pad, search.lens.device)
            return forward.loss_sum(trained.model, batch)

    objective = plain(trained, loss)
    stepping = Stepping(search, objective)
    for update in islice(sft.updates(search.step, search.parts, 0), search.updates):
        stepping.take(partial(loop.backward, stepping.engine, objective, update))
    wanted = list(dict.fromkeys(one for rows in drawn(search) for one in rows))
    return dict(zip(wanted, measured(search, trained, wanted), strict=True))


def proxy_course(search: Search, reference: dict[Drawn, Tensor]) -> list[list[float]]:
    """Train the proxy against the worst mixture; the weights after every update."""
    trained = search.begin()
    stepping = Stepping(search, plain(trained))
    fields = search.step.fields["shares"]
    alpha = [1 / len(search.parts)] * len(search.parts)
    course = []
    for rows in drawn(search):
        losses = measured(search, trained, rows)
        tasks = [each.new_full(each.shape, one[0]) for one, each in zip(rows, losses, strict=True)]
        known = torch.cat([reference[one] for one in rows])
        every = torch.cat(tasks).long()
        excess = excess_of(torch.cat(losses), known, every, len(search.parts))
        alpha = reweighted(alpha, excess, float(fields["eta"]), float(fields["smoothing"]))
        course.append(alpha)
        stepping.take(partial(robust_backward, search, trained, rows, alpha))
    return course


def measured(search: Search, trained: Trained, rows: Sequence[Drawn]) -> list[Tensor]:
    """The loss [T] of every token of each row, without gradients and dropout."""
    trained.model.eval()
    found = []
    with torch.no_grad():
        for some in micros(search, rows):
            losses = token_losses(trained.model, [row_of(search, one) for one in some], search.lens)
            found += list(torch.split(losses, [row_of(search, one).supervised for one in some]))
    trained.model.train()
    return found


def robust_backward(
    search: Search, trained: Trained, rows: Sequence[Drawn], alpha: Sequence[float]
) -> None:
    """Gradients of sum_i alpha_i x (mean loss of task i's tokens), in micro-batches."""
    counts = [0] * len(search.parts)
    for one in rows:
        counts[one[0]] += row_of(search, one).supervised
    for some in micros(search, rows):
        losses = token_losses(trained.model, [row_of(search, one) for one in some], search.lens)
        weights = [
            alpha[one[0]] / counts[one[0]]
            for one in some
            for _ in range(row_of(search, one).supervised)
        ]
        (losses * losses.new_tensor(weights)).sum().backward()  # type: ignore[no-untyped-call]


def micros(search: Search, rows: Sequence[Drawn]) -> Iterator[Sequence[Drawn]]:
    """An update's rows, as many at once as the device holds."""
    for at in range(0, len(rows), search.step.place.micro):
        yield rows[at : at + search.step.place.micro]


def plain(trained: Trained, loss: Callable[[Any], Tensor] = torch.sum) -> loop.Objective:
    """What the helpers of the loop want to know of a model that it does not train itself."""
    named = trainable.parameters(trained)
    return loop.Objective({"model": trained.model}, named, lambda at: iter(()), loss, dict)


class Stepping:
    """One optimizer over an objective, with the rate and the clipping of the step."""

    def __init__(self, search: Search, objective: loop.Objective) -> None:
        self.search = search
        self.objective = objective
        self.at = 0
        self.engine = Single()
        make = partial(optimise.optimizer, search.step)
        self.engine.adopt([Unit(loop.MAIN, objective.modules, objective.named, make)])
        loop.switch(objective, training=True)

    def take(self, backward: Callable[[], Any]) -> None:
        """Backward, clip, step."""
        lr = optimise.rate(self.search.schedule, self.search.step.lr or 0.0, self.at)
        optimise.set_rate(self.engine.optimizer(loop.MAIN), lr)
        backward()
        optimise.update(self.engine, loop.MAIN, loop.most(self.search.step))
        self.at += 1


def row_of(search: Search, one: Drawn) -> Row:
    return search.parts[one[0]].train[one[1]]


def token_losses(model: Any, rows: Sequence[Row], lens: Lens) -> Tensor:
    """The loss of every supervised token of some rows, one row after the other: [N]."""
    with forward.autocast(lens.precision, lens.device):
        batch = forward.collate(rows, lens.pad, lens.device)
        logits, targets = forward.supervised_logits(model, batch)
    return F.cross_entropy(logits.float(), targets, reduction="none")


def applied(mixture: Mixture, made: Found) -> Mixture:
    """The mix with the shares that were found, which are of tokens."""
    parts = [
        part.model_copy(update={"weight": share})
        for part, share in zip(mixture.parts, made.shares, strict=True)
    ]
    fresh = {"parts": parts, "strategy": "fixed", "by": "tokens", "cap": None}
    return mixture.model_copy(update=fresh)
