"""`run` for comparative_ranking, dpo, ipo, simpo and orpo: learning from ranked replies.

A pair is a list of two. All replies of a list go through the model together, each once, whatever
the number of pairs they form.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from tunelang.plan.ir import Step
from tunelang.train import course, data, likelihood, loop, ranked, scorer, stage
from tunelang.train.course import Policy
from tunelang.train.data import Example, Split
from tunelang.train.forward import Row
from tunelang.train.job import Job
from tunelang.train.objectives import LOSSES, Loss, Seen
from tunelang.train.ranked import Ranked
from tunelang.train.scoring import groups
from tunelang.train.speech import Speech
from tunelang.train.stage import Metrics


@dataclass(frozen=True)
class Micro:
    """Lists of one forward pass; `share` is lists over read tokens of the whole update, by which
    a pooled likelihood becomes a mean."""

    lists: Sequence[Ranked]
    share: float


@dataclass(frozen=True)
class Lists:
    """A course over ranked lists: one loss with its fields."""

    step: Step
    job: Job
    foresees: bool = False

    @property
    def name(self) -> str:
        """The loss: named by a field, or the method itself."""
        chosen = self.step.fields.get("loss")
        return str(chosen["kind"]) if chosen else self.step.method

    @property
    def fields(self) -> dict[str, Any]:
        return dict(self.step.fields.get("loss") or self.step.fields)

    @property
    def loss_of(self) -> Loss:
        return LOSSES[self.name]

    @property
    def needs_reference(self) -> bool:
        return self.loss_of.referenced

    @property
    def reads_prompts(self) -> bool:
        """Is the likelihood of a best reply taken with its prompt?"""
        return bool(self.fields.get("sft_on") == "all")

    def encode(self, splits: Sequence[Split[Example]], speech: Speech) -> list[Split[Ranked]]:
        judge = scorer.judge_of(self.step, self.job)
        writer = replace(self.writer(speech), judge=judge)
        made = [data.encode(split, writer) for split in splits]
        ranked.report(writer, self.job)
        ranked.tell_lengths(made, self.job)
        return made

    def writer(self, speech: Speech) -> ranked.Writer:
        """How rows are written, with a count of its own."""
        fields = self.step.fields
        wants_margin = self.name in ("dpo",) and bool(fields.get("margin"))
        most = fields.get("candidates")
        return ranked.Writer(
            speech, self.step.length or 0, int(most) if most else None, wants_margin
        )

    def spoken(self, example: Example, speech: Speech) -> Row | None:
        values = example.values
        if "replies" in values and not {"ranks", "scores"} & set(values):
            return None
        found = self.writer(speech)(example)
        return found[0].replies[0] if found else None

    def replies(self, one: Ranked) -> list[Row]:
        return one.replies

    def update(self, policy: Policy, taken: list[Ranked], micro: int) -> loop.Update:
        share = len(taken) / sum(self.read(one) for one in taken)
        parts = stage.micros(taken, micro, lambda one: one.longest)
        return loop.Update([Micro(part, share) for part in parts], float(len(taken)))

    def read(self, one: Ranked) -> int:
        """Tokens that the likelihood of the best reply is over."""
        best = one.replies[0]
        return (likelihood.whole(best) if self.reads_prompts else best).supervised

    def loss(self, policy: Policy, micro: Micro) -> Tensor:
        seen = self.look(policy, micro.lists)
        return torch.stack([self.of_list(one, micro.share) for one in seen]).sum()

    def of_list(self, seen: Seen, share: float) -> Tensor:
        """The loss of one list with its likelihood term."""
        loss, fields = self.loss_of, self.fields
        weight = float(loss.weight(fields, len(seen.labels)))
        own = loss.of(seen, fields)
        if not weight:
            return own
        return own + weight * seen.best * (share if loss.pooled else 1 / seen.read)

    def look(self, policy: Policy, lists: Sequence[Ranked]) -> list[Seen]:
        """One forward pass over all replies of all lists, and the reference's word on them."""
        rows = [reply for one in lists for reply in one.replies]
        device, sizes = policy.lens.device, [len(one.replies) for one in lists]
        firsts = [sum(sizes[:at]) for at in range(len(sizes))]
        read = set(firsts) if self.reads_prompts else set()
        shown = [likelihood.whole(row) if at in read else row for at, row in enumerate(rows)]
        tokens = likelihood.tokens(policy.model, shown, policy.lens)
        everything = likelihood.per_row(tokens, shown, device)
        replies = tokens * likelihood.in_replies(rows, read, device)
        log_probability = likelihood.per_row(replies, shown, device)
        ratio = log_probability - policy.reference(rows) if policy.reference else log_probability
        length = likelihood.lengths(rows, device)
        return [
            Seen(
                ratio[at : at + size],
                log_probability[at : at + size],
                length[at : at + size],
                labels(one, device),
                one.margin,
                -everything[at],
                shown[at].supervised,
            )
            for at, size, one in zip(firsts, sizes, lists, strict=True)
        ]

    def first(self, taken: Sequence[Ranked]) -> float | None:
        """LiPO's weights depend on the order of scores that are all the same: rounding decides."""
        if self.name == "lipo":
            return None
        losses = [self.loss_of.of(unmoved(one), self.fields) for one in taken]
        return float(torch.stack(losses).mean())

    def measure(self, policy: Policy, measured: Sequence[Ranked]) -> dict[str, float]:
        """`accuracy` (pairs in the right order, ties half), `margin` (mean difference of scores)
        and `loss`, over lists; of rankings also `kendall_tau`."""
        if not measured:
            return {}
        share = len(measured) / sum(self.read(one) for one in measured)
        sizes = [[0] * (one.longest * len(one.replies)) for one in measured]
        with torch.no_grad():
            found = [
                self.metrics(seen, share)
                for group in groups(range(len(measured)), sizes)
                for seen in self.look(policy, [measured[at] for at in group])
            ]
        return {name: sum(one[name] for one in found) / len(found) for name in found[0]}

    def metrics(self, seen: Seen, share: float) -> dict[str, float]:
        """Metrics of one list."""
        scores = self.loss_of.scores(seen, self.fields)
        gaps = (scores[:, None] - scores[None, :])[seen.labels[:, None] > seen.labels[None, :]]
        accuracy = float(((gaps > 0).float() + 0.5 * (gaps == 0).float()).mean())
        found = {"accuracy": accuracy, "margin": float(gaps.mean())}
        if self.step.method == "comparative_ranking":
            found["kendall_tau"] = 2 * accuracy - 1
        return found | {"loss": float(self.of_list(seen, share))}


def labels(one: Ranked, device: str) -> Tensor:
    return torch.tensor(one.labels, device=device)


def unmoved(one: Ranked) -> Seen:
    """What a list shows where the policy is its reference."""
    zeros = torch.zeros(len(one.replies))
    length = likelihood.lengths(one.replies, "cpu")
    return Seen(zeros, zeros, length, labels(one, "cpu"), one.margin, zeros[0], 1)


def run(step: Step, job: Job) -> Metrics:
    """Train, measure before and after, and write the product."""
    return course.run(step, job, Lists(step, job))
