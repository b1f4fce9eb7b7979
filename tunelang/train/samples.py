"""A few held-out prompts answered before and after, greedily: what a reader believes first."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tunelang.run.store import write_json
from tunelang.train import forward
from tunelang.train.evaluate import Lens
from tunelang.train.generate import Sampling, replies
from tunelang.train.job import Job
from tunelang.train.speech import Speech, prompt

PROMPTS = 3
TOKENS = 48  # a sentence or two: enough to judge, seconds on a CPU


@dataclass(frozen=True)
class Asked:
    """The prompts to show (strings or turns), and how they are put to the model."""

    speech: Speech
    prompts: Sequence[Any]
    lens: Lens

    @property
    def chosen(self) -> Sequence[Any]:
        return self.prompts[:PROMPTS]


def first(job: Job, model: Any, asked: Asked) -> list[str]:
    """The start's replies, written down once for a step that is resumed."""
    path = job.work / "samples-before.json"
    if job.resume is not None and path.is_file():
        noted: list[str] = json.loads(path.read_text("utf-8"))
        return noted
    texts = reply(model, asked)
    if job.leads:
        write_json(path, texts)
    return texts


def compare(job: Job, model: Any, asked: Asked, before: list[str]) -> list[dict[str, str]]:
    """Replies before and after side by side; told as an event, and returned."""
    after = reply(model, asked)
    shown = [
        {"prompt": as_text(words), "before": was, "after": now}
        for words, was, now in zip(asked.chosen, before, after, strict=True)
    ]
    if shown:
        job.emit({"event": "samples", "samples": shown})
    return shown


def reply(model: Any, asked: Asked) -> list[str]:
    """Greedy replies to the chosen prompts."""
    if not asked.chosen:
        return []
    speech, lens = asked.speech, asked.lens
    ids = [prompt(speech, words, "sample") for words in asked.chosen]
    sampling = Sampling(TOKENS, frozenset(speech.stop))
    with forward.autocast(lens.precision, lens.device):
        made = replies(model, ids, lens.pad, sampling)
    return [speech.tokenizer.decode(one, skip_special_tokens=True).strip() for one in made]


def as_text(words: Any) -> str:
    """A prompt for people: the last turn of a conversation, or the string."""
    return words if isinstance(words, str) else str(words[-1]["content"])
