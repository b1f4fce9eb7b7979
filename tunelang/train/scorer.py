"""A reward model that puts replies in order, for rows that say nothing of theirs."""

from __future__ import annotations

from tunelang.plan.ir import Step
from tunelang.train import speech
from tunelang.train.data import Example
from tunelang.train.evaluate import Lens
from tunelang.train.job import Job, fail
from tunelang.train.model import load
from tunelang.train.ranked import Judge
from tunelang.train.scoring import scores_of
from tunelang.train.speech import Speech


def judge_of(step: Step, job: Job) -> Judge | None:
    """The scores that the stage's `reward` gives the replies of a row, None where it has none.

    It reads rows in the form that it was taught in, whatever the policy's own.
    """
    if "reward" not in step.inputs:
        return None
    loaded = load(step.inputs["reward"], job, precision=step.precision)
    if loaded.head is None:
        help = "name a reward_modeling stage"
        fail("TL115", "wrong-stage-kind", "the reward has no score head", help)
    head, speaks = loaded.head, Speech(loaded.tokenizer, loaded.template)
    lens = Lens(step.precision, job.device, loaded.tokenizer.pad_token_id)

    def scores(example: Example) -> list[float]:
        asked = speech.instruction(example.values, turns=speaks.template is not None)
        ids = [
            speech.reply(speaks, asked, reply, example.place).ids
            for reply in example.values["replies"]
        ]
        found: list[float] = scores_of(loaded.model, head, ids, lens).tolist()
        return found

    return scores
