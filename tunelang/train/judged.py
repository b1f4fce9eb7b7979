"""Feedback rows -> single replies that are good or bad, each beside a reply to another prompt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tunelang.train import speech
from tunelang.train.data import Example, Split
from tunelang.train.forward import Row
from tunelang.train.job import Job, fail
from tunelang.train.speech import Speech, Text


@dataclass(frozen=True)
class Judged:
    """A reply, whether it is good, and the row's prompt with a reply to another one."""

    reply: Row
    other: Row
    good: bool

    @property
    def longest(self) -> int:
        return max(len(self.reply.ids), len(self.other.ids))

    @property
    def supervised(self) -> int:
        """The tokens of its reply, which shares of a mix by tokens count."""
        return self.reply.supervised


@dataclass
class Tally:
    """Rows seen, rows left out, and rows that have only their own reply to be compared with."""

    seen: int = 0
    long: int = 0
    alone: int = 0


@dataclass(frozen=True)
class Writer:
    """How feedback rows become judged replies: a row over `length` is left out, never cut."""

    speech: Speech
    length: int
    tally: Tally = field(default_factory=Tally)

    def write(self, examples: Sequence[Example]) -> list[Judged]:
        """Rows in order, each with the reply of the one before it (the last, for the first).

        As TRL pairs them inside a batch, but over the whole data set, so that what is compared
        depends on neither batches nor hardware. Past rows that ask the same (a good and a bad
        reply to one prompt often follow each other) and replies that then are too long, it is
        looked for further back.
        """
        self.tally.seen += len(examples)
        good = [verdict(example) for example in examples]
        kept = [at for at, one in enumerate(examples) if self.fits(self.row(one, one))]
        self.tally.long += len(examples) - len(kept)
        return [
            Judged(
                self.row(examples[at], examples[at]),
                self.mismatched(examples, kept, place),
                good[at],
            )
            for place, at in enumerate(kept)
        ]

    def mismatched(self, examples: Sequence[Example], kept: list[int], place: int) -> Row:
        """The prompt of a row with the nearest reply before it to another prompt that fits."""
        own = examples[kept[place]]
        asked = self.prompt(own)
        for back in range(1, len(kept)):
            answered = examples[kept[place - back]]
            other = self.row(own, answered) if self.prompt(answered) != asked else None
            if other and self.fits(other):
                return other
        self.tally.alone += 1
        return self.row(own, own)

    def fits(self, row: Row) -> bool:
        return len(row.ids) <= self.length

    def row(self, asked: Example, answered: Example) -> Row:
        """The prompt of one row with the reply of another."""
        return speech.row(self.speech, self.prompt(asked), answered.values["reply"], asked.place)

    def prompt(self, example: Example) -> Text:
        return speech.instruction(example.values, turns=self.speech.template is not None)


def verdict(example: Example) -> bool:
    """The row's `good`; TL320 where it is neither true nor false."""
    said: Any = example.values["good"]
    if said not in (True, False):
        fail("TL320", "unreadable-row", f"{example.place}: `good` is {said!r}, not true or false")
    return bool(said)


def encode(splits: Sequence[Split[Example]], writer: Writer) -> list[Split[Judged]]:
    """Every part; held-out rows are paired among themselves."""
    return [
        Split(split.name, writer.write(split.train), writer.write(split.held_out))
        for split in splits
    ]


def report(writer: Writer, job: Job) -> None:
    """Say how many rows are left out."""
    tally = writer.tally
    if tally.long:
        job.note(
            f"{tally.long} of {tally.seen} rows are longer than {writer.length} tokens and "
            "are left out"
        )
    if tally.alone:
        job.note(
            f"{tally.alone} rows find no reply to another prompt that fits: their own stands for "
            "it in the baseline"
        )
