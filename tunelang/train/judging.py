"""A reward model asked about replies: each is read as the rows that taught the judge were."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tunelang.plan.ir import ModelRef
from tunelang.train import scoring, speech
from tunelang.train.evaluate import Lens
from tunelang.train.job import Job, fail
from tunelang.train.model import load
from tunelang.train.speech import Speech, Text


@dataclass(frozen=True)
class Asked:
    """A prompt and a reply to it; one that did not end is read without the token that ends it."""

    prompt: Text
    reply: str
    place: str
    ended: bool = True


def scores(judge: ModelRef, job: Job, precision: str, asked: Sequence[Asked]) -> list[float]:
    """The judge's score of every reply, bias added. It is loaded for this, and let go."""
    loaded = load(judge, job, precision=precision)
    if loaded.head is None:
        fail("TL115", "wrong-stage-kind", "the judge has no score head", "name a reward stage")
    said = Speech(loaded.tokenizer, loaded.template)
    lens = Lens(precision, job.device, loaded.tokenizer.pad_token_id)
    ids = [read(said, one) for one in asked]
    found = scoring.scores_of(loaded.model, loaded.head, ids, lens) + loaded.bias
    values: list[float] = found.tolist()
    return values


def read(said: Speech, asked: Asked) -> list[int]:
    """The tokens that the judge reads."""
    tokens = speech.reply(said, asked.prompt, asked.reply, asked.place)
    if asked.ended:
        return tokens.ids
    ends = [at for at, token in enumerate(tokens.ids) if token in said.stop and tokens.trained[at]]
    return tokens.ids[: ends[-1]] if ends else tokens.ids
