"""A model that replies: a language model, or one with exemplars before whatever it is asked.

Commands and stages that let a model speak ask here, so that each hears the same tokens.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from tunelang.plan.ir import ModelRef
from tunelang.train import prompted, speech
from tunelang.train.evaluate import Lens
from tunelang.train.job import Job, fail
from tunelang.train.model import Loaded, load
from tunelang.train.prompted import Prompted
from tunelang.train.speech import Speech, Text

SPEAK = ("lm", "prompted")  # products that write replies
NAMES = {"reward": "a reward model, which scores", "classifier": "a classifier, which chooses"}


@dataclass(frozen=True)
class Voice:
    """A loaded model, how its prompts are written, and its exemplars where it has some."""

    loaded: Loaded
    speech: Speech
    lens: Lens
    prompted: Prompted | None = None

    @property
    def model(self) -> Any:
        return self.loaded.model

    @property
    def stop(self) -> frozenset[int]:
        """Tokens that end a reply."""
        return frozenset(self.speech.stop)

    def ids(self, asked: Text, place: str) -> list[int]:
        """Token ids of a prompt, up to where the model speaks."""
        if self.prompted is not None:
            return prompted.prompt(self.prompted, asked, place)
        return speech.prompt(self.speech, asked, place)

    def text(self, reply: list[int]) -> str:
        """A reply as text."""
        said: str = self.speech.tokenizer.decode(reply, skip_special_tokens=True)
        return prompted.ended(self.prompted, said) if self.prompted is not None else said

    def over(self, reply: list[int]) -> bool:
        """Has a reply in plain text gone on to an exemplar of its own, and so ended?"""
        whole = self.speech.tokenizer.decode(reply, skip_special_tokens=True)
        return self.prompted is not None and len(self.text(reply)) < len(whole)

    def plain(self) -> Voice:
        """The same model as it continues plain text, without template and exemplars."""
        return replace(self, speech=Speech(self.speech.tokenizer, None), prompted=None)


def opened(ref: ModelRef, job: Job, precision: str) -> Voice:
    """The voice behind a reference. Raises UserError TL115 for what writes nothing."""
    kind = job.store.product(ref.key)["kind"] if ref.kind == "store" else "lm"
    if kind not in SPEAK:
        what = NAMES.get(kind, "no model: it holds data, and speaks no word of it")
        fail("TL115", "wrong-stage-kind", f"this is {what} and writes nothing")
    loaded = load(ref, job, precision=precision)
    lens = Lens(precision, job.device, loaded.tokenizer.pad_token_id)
    made = None
    if kind == "prompted" and ref.kind == "store":
        made = prompted.opened(job.store.object(ref.key), job, loaded, lens)
    return Voice(loaded, Speech(loaded.tokenizer, loaded.template), lens, made)
