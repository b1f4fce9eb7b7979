"""PPO-ptx: language-model gradients mixed into every update, so that the policy forgets less.

InstructGPT (arXiv 2203.02155), eq. 2: the objective gains gamma E log pi(x) over texts of the
pretraining distribution; gradients of both are added up before the step (its appendix C.4).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from torch import Tensor

from tunelang.plan.ir import Mixture, Step
from tunelang.train import data, forward, mix, rows
from tunelang.train.experience import fitting, micros
from tunelang.train.forward import Row
from tunelang.train.job import Job
from tunelang.train.roles import POLICY, Cast, speaking
from tunelang.train.speech import Speech


@dataclass(frozen=True)
class Texts:
    """The texts, how many an update reads, and the weight of their loss."""

    mixture: Mixture
    parts: list[data.Split[Row]]
    size: int
    coefficient: float
    seed: int
    micro: int

    def rows_of(self, update: int) -> list[Row]:
        """The texts of an update by its number: a function of seed and number alone."""
        stream = mix.stream(self.mixture, [part.train for part in self.parts], self.seed)
        drawn = islice(stream, update * self.size, (update + 1) * self.size)
        return sorted((self.parts[at].train[row] for at, row in drawn), key=lambda r: len(r.ids))

    def backward(self, who: Cast, update: int) -> float:
        """Add the gradients of coefficient x mean loss per token; this process's part of that mean,
        in nats. They are the policy's last of an update."""
        found, engine = self.rows_of(update), who.policy.engine
        total = sum(row.supervised for row in found)
        size = fitting(len(found), self.micro, engine.world)
        blocks = list(micros(len(found), size))
        mine = list(zip(engine.share(blocks), engine.counts(len(blocks)), strict=True))
        loss = 0.0
        for place, (block, counts) in enumerate(mine):
            weight, last = self.coefficient * counts, place == len(mine) - 1
            mean = self._micro(who, ([found[at] for at in block], total), weight, last)
            loss += mean * counts
        return loss

    def _micro(
        self, who: Cast, part: tuple[Sequence[Row], int], weight: float, last: bool
    ) -> float:
        some, total = part
        batch = forward.collate(some, who.lens.pad, who.lens.device)

        def work(model: Any) -> Tensor:
            with forward.autocast(who.lens.precision, who.lens.device):
                return forward.loss_sum(model, batch) / total

        with speaking(who.policy):  # in the backward pass, too
            mean = who.policy.compute(work, last=last)
            who.policy.engine.backward(POLICY, weight * mean, last=last)
        return float(mean.detach())


def texts_of(step: Step, job: Job, speech: Speech) -> Texts | None:
    """The texts that a recipe mixes in; None where it names none."""
    if step.pretraining is None:
        return None
    mixture, wanted = Mixture(parts=[step.pretraining]), step.fields["pretraining"]
    whole = Speech(speech.tokenizer, None)
    writer = rows.Writer(whole, (step.length or 0) + int(step.fields["rollout"]["reply"]), "all")
    parts = [data.encode(split, writer) for split in data.load(mixture, job)]
    rows.report(writer, job, step.name)
    data.need_rows(parts, step)
    size, weight = int(wanted["batch"]), float(wanted["coefficient"])
    return Texts(mixture, parts, size, weight, step.seed, step.place.micro)
