"""Examples -> token rows of at most `length` tokens, with every cut and loss counted and told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tunelang.train import speech as spoken
from tunelang.train import wordings
from tunelang.train.data import Example
from tunelang.train.forward import Row
from tunelang.train.job import Job, fail
from tunelang.train.losses import IGNORED
from tunelang.train.speech import Speech
from tunelang.train.templates import Tokens

# A chunk of text this short teaches nothing: its one token has no token before it.
LEAST = 2


@dataclass
class Tally:
    """What happened to rows on their way; `replied` is how many had a reply at all."""

    seen: int = 0
    cut: int = 0
    lost: int = 0
    split: int = 0
    first_lost: str = ""


@dataclass(frozen=True)
class Writer:
    """How examples of one step become rows. `loss_on` is reply, assistant, last or all."""

    speech: Speech
    length: int
    loss_on: str
    tally: Tally = field(default_factory=Tally)

    def __call__(self, example: Example) -> list[Row]:
        """The rows of one example: chunks of a text, one row of all else, none if lost."""
        self.tally.seen += 1
        if example.kind == "text":
            return self.chunks(spoken.text(self.speech, str(example.values["text"])))
        wordings.need_question(example)
        row = self.cut(tokens_of(self.speech, example, self.loss_on), example.place)
        weight = example.values.get("weight")
        return row if weight is None else [weighted(each, weight) for each in row]

    def chunks(self, tokens: Tokens) -> list[Row]:
        """A long text in pieces: every token is kept."""
        pieces = [
            tokens.ids[at : at + self.length] for at in range(0, len(tokens.ids), self.length)
        ]
        self.tally.split += len(pieces) > 1
        return [Row(piece, piece) for piece in pieces if len(piece) >= LEAST]

    def cut(self, tokens: Tokens, place: str) -> list[Row]:
        """A row cut at its end to `length`; lost if no trained token is left."""
        kept = tokens.ids[: self.length]
        mine = tokens.trained[: self.length]
        if self.loss_on == "all":
            mine = [True] * len(kept)
        elif not any(mine[1:]):
            self.tally.lost += 1
            self.tally.first_lost = self.tally.first_lost or place
            return []
        self.tally.cut += len(tokens.ids) > self.length
        pairs = zip(kept, mine, strict=True)
        return [Row(kept, [token if trained else IGNORED for token, trained in pairs])]


def weighted(row: Row, weight: float) -> Row:
    """The row, each of its tokens counting `weight` times."""
    return replace(row, weights=[float(weight)] * len(row.ids))


def tokens_of(speech: Speech, example: Example, loss_on: str = "reply") -> Tokens:
    """The tokens of an instruct or chat row, replies marked; of `last` only the last one."""
    values = example.values
    if example.kind == "chat":
        return spoken.conversation(
            speech,
            values["messages"],
            example.place,
            tools=values.get("tools", ()),
            last=loss_on == "last",
        )
    asked = spoken.instruction(values, turns=speech.template is not None)
    return spoken.reply(speech, asked, values["reply"], example.place)


def report(writer: Writer, job: Job, step_name: str) -> None:
    """Say what was split, cut and lost; TL310 when every reply was."""
    tally, length = writer.tally, writer.length
    if tally.lost and tally.lost == tally.seen:
        fail(
            "TL310",
            "cut-before-answer",
            f"{tally.first_lost}: no reply of `{step_name}` fits: every prompt alone fills "
            f"{length} tokens, or the reply is empty",
            "raise length",
        )
    if tally.split:
        job.note(
            f"{tally.split} of {tally.seen} texts are longer than {length} tokens and are "
            "split; nothing is lost"
        )
    if tally.cut:
        job.note(
            f"{tally.cut} of {tally.seen} rows are longer than {length} tokens and are cut "
            "at their end; their end-of-text is not trained"
        )
    if tally.lost:
        job.note(
            f"{tally.lost} of {tally.seen} rows are left out: no reply within {length} tokens "
            f"(the first is {tally.first_lost})"
        )


def asked(example: Example, *, turns: bool) -> Any | None:
    """The prompt of a row with a reply, for samples; None where there is none.

    None too where the row has tools: a sample is asked in words alone.
    """
    if example.values.get("tools"):
        return None
    if example.kind == "chat":
        messages: Sequence[Any] = example.values["messages"]
        replies = [at for at, turn in enumerate(messages) if turn["role"] == "assistant"]
        return list(messages[: replies[0]]) if replies and replies[0] else None
    if "prompt" not in example.values:
        return None
    return spoken.instruction(example.values, turns=turns)
