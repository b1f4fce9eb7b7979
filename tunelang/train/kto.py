"""`run` for kto: learning from single replies that are good or bad.

The baseline z, an estimate of KL(pi || pi_ref), is taken once an update, over all of its rows and
without gradients, so that no split into micro-batches changes it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tunelang.plan.ir import Step
from tunelang.train import course, judged, likelihood, loop, stage
from tunelang.train.course import Policy
from tunelang.train.data import Example, Split
from tunelang.train.forward import Row
from tunelang.train.job import Job
from tunelang.train.judged import Judged
from tunelang.train.preference_losses import KTO, kto_baseline, kto_sum
from tunelang.train.reference import resting
from tunelang.train.speech import Speech
from tunelang.train.stage import Metrics


@dataclass(frozen=True)
class Micro:
    """Rows of one forward pass, and the baseline [] of their whole update."""

    rows: Sequence[Judged]
    baseline: Tensor


@dataclass(frozen=True)
class Singles:
    """A course over single judgements."""

    step: Step
    job: Job
    needs_reference: bool = True
    foresees: bool = True  # the baseline

    @property
    def settings(self) -> KTO:
        fields = self.step.fields
        return KTO(fields["beta"], fields["desirable"], fields["undesirable"])

    def encode(self, splits: Sequence[Split[Example]], speech: Speech) -> list[Split[Judged]]:
        writer = judged.Writer(speech, self.step.length or 0)
        made = judged.encode(splits, writer)
        judged.report(writer, self.job)
        return made

    def spoken(self, example: Example, speech: Speech) -> Row | None:
        writer = judged.Writer(speech, self.step.length or 0)
        row = writer.row(example, example)
        return row if judged.verdict(example) and writer.fits(row) else None

    def replies(self, one: Judged) -> list[Row]:
        return [one.reply, one.other]

    def update(self, policy: Policy, taken: list[Judged], micro: int) -> loop.Update:
        baseline = self.baseline(policy, taken)
        parts = stage.micros(taken, micro, lambda one: one.longest)
        return loop.Update([Micro(part, baseline) for part in parts], float(len(taken)))

    def baseline(self, policy: Policy, taken: Sequence[Judged]) -> Tensor:
        """z of the prompts of `taken` with replies to other prompts."""
        return kto_baseline(self.ratios(policy, [one.other for one in taken]))

    def ratios(self, policy: Policy, rows: Sequence[Row]) -> Tensor:
        """log pi - log pi_ref [B], without gradients and without dropout."""
        assert policy.reference is not None
        device = policy.lens.device
        own = likelihood.batched(
            lambda part: resting(policy.model, part, policy.lens), rows, device
        )
        return own - likelihood.batched(policy.reference, rows, device)

    def loss(self, policy: Policy, micro: Micro) -> Tensor:
        assert policy.reference is not None
        rows = [one.reply for one in micro.rows]
        ratio = likelihood.sums(policy.model, rows, policy.lens) - policy.reference(rows)
        return kto_sum(ratio, goodness(micro.rows, ratio.device), micro.baseline, self.settings)

    def first(self, taken: Sequence[Judged]) -> float:
        """Half of the mean weight."""
        zeros = torch.zeros(len(taken))
        found = kto_sum(zeros, goodness(taken, zeros.device), zeros[0], self.settings)
        return float(found) / len(taken)

    def measure(self, policy: Policy, measured: Sequence[Judged]) -> dict[str, float]:
        """`loss`; `kl`, the baseline; where there are good and bad replies `accuracy`, the share of
        pairs of one each in which the good one scores higher (ties half), and `margin`."""
        if not measured:
            return {}
        ratio = self.ratios(policy, [one.reply for one in measured])
        baseline = self.baseline(policy, measured)
        good = goodness(measured, ratio.device)
        loss = kto_sum(ratio, good, baseline, self.settings) / len(measured)
        found = {"loss": float(loss), "kl": float(baseline)}
        if bool(good.any()) and not bool(good.all()):
            gaps = self.settings.beta * (ratio[good][:, None] - ratio[~good][None, :])
            right = (gaps > 0).float() + 0.5 * (gaps == 0).float()
            found |= {"accuracy": float(right.mean()), "margin": float(gaps.mean())}
        return found


def goodness(rows: Sequence[Judged], device: torch.device) -> Tensor:
    """[N] of bool."""
    return torch.tensor([one.good for one in rows], device=device)


def run(step: Step, job: Job) -> Metrics:
    """Train, measure before and after, and write the product."""
    return course.run(step, job, Singles(step, job))
