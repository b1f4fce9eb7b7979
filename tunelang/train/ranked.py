"""Preference and ranking rows -> replies to one prompt as tokens, best first, with their labels.

A pair is a list of two. Whatever is left out is counted, and `report` says it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tunelang.train import speech
from tunelang.train.data import Example, Split
from tunelang.train.forward import Row
from tunelang.train.job import Job
from tunelang.train.reward_lists import margin_of, ordered
from tunelang.train.speech import Speech

AT_LEAST = 2  # replies that can be compared
LONGER = 2 / 3  # of pairs: more than this is told, as even pairs of 30 rows stay below it
# Scores replies to a prompt, for rows that say nothing of their order.
Judge = Callable[[Example], list[float]]


@dataclass(frozen=True)
class Ranked:
    """K replies to one prompt, best first; `labels` [K] are more for a better one.

    `margin` is by how much the better of two should win, where rows say so.
    """

    replies: list[Row]
    labels: list[float]
    margin: float = 0.0

    @property
    def longest(self) -> int:
        return max(len(reply.ids) for reply in self.replies)

    @property
    def supervised(self) -> int:
        """The tokens of its replies, which shares of a mix by tokens count."""
        return sum(reply.supervised for reply in self.replies)


@dataclass
class Tally:
    """Rows seen; rows left out by reason; replies left out of longer lists; rows judged."""

    seen: int = 0
    long: int = 0
    equal: int = 0
    long_replies: int = 0
    over: int = 0
    judged: int = 0


@dataclass(frozen=True)
class Writer:
    """How rows become lists. A reply over `length` is left out, never cut: half a reply deserves
    another place than the whole. Of more than `candidates` replies the best and the worst stay,
    and others evenly between them."""

    speech: Speech
    length: int
    candidates: int | None = None
    margin: bool = False
    judge: Judge | None = None
    tally: Tally = field(default_factory=Tally)

    def __call__(self, example: Example) -> list[Ranked]:
        self.tally.seen += 1
        replies, labels = self.ordered(example)
        rows = [self.tokens(example, reply) for reply in replies]
        kept = [at for at, row in enumerate(rows) if len(row.ids) <= self.length]
        if len(kept) < AT_LEAST:
            self.tally.long += 1
            return []
        self.tally.long_replies += len(rows) - len(kept)
        kept = self.chosen(sorted(kept, key=lambda at: -labels[at]))
        first, last = kept[0], kept[-1]
        if labels[first] == labels[last] or rows[first].ids == rows[last].ids:
            self.tally.equal += 1
            return []
        margin = margin_of(example.values, example.place) if self.margin else 0.0
        return [Ranked([rows[at] for at in kept], [labels[at] for at in kept], margin)]

    def ordered(self, example: Example) -> tuple[Sequence[Any], list[float]]:
        """The replies of a row and their labels, of the row or else of the judge."""
        unjudged = "replies" in example.values and not {"ranks", "scores"} & set(example.values)
        if unjudged and self.judge is not None:
            self.tally.judged += 1
            return example.values["replies"], self.judge(example)
        return ordered(example.values, example.place)

    def tokens(self, example: Example, reply: Any) -> Row:
        """Prompt and reply; the reply and what ends it are what is counted."""
        values = {**example.values, "prompt": example.values.get("prompt", "")}
        asked = speech.instruction(values, turns=self.speech.template is not None)
        return speech.row(self.speech, asked, reply, example.place)

    def chosen(self, order: list[int]) -> list[int]:
        """At most `candidates` of the places, the first and the last among them."""
        most = self.candidates
        if most is None or len(order) <= most:
            return order
        self.tally.over += 1
        return [order[round(at * (len(order) - 1) / (most - 1))] for at in range(most)]


def report(writer: Writer, job: Job) -> None:
    """Say which rows and replies are left out, and which were judged."""
    tally, length = writer.tally, writer.length
    out = f"of {tally.seen} rows are left out:"
    said: Mapping[str, int] = {
        f"{out} fewer than two replies fit {length} tokens": tally.long,
        f"{out} no reply is better than another": tally.equal,
        f"replies longer than {length} tokens are left out of their lists": tally.long_replies,
        f"lists are thinned to {writer.candidates} replies, best and worst kept": tally.over,
        "rows have no order of their own: the judge scored their replies": tally.judged,
    }
    for text, count in said.items():
        if count:
            job.note(f"{count} {text}")


def tell_lengths(parts: Sequence[Split[Ranked]], job: Job) -> None:
    """Say so where long replies win: a policy then learns to write long ones.

    Singhal et al. 2023 (arXiv 2310.03716) find that most gains on such data are length.
    """
    pairs = [pair for part in parts for one in part.train for pair in lengths(one)]
    uneven = [better > worse for better, worse in pairs if better != worse]
    if uneven and sum(uneven) > LONGER * len(uneven):
        share = sum(uneven) / len(uneven)
        job.note(f"the better reply is the longer one in {share:.0%} of pairs of unequal length")


def lengths(one: Ranked) -> list[tuple[int, int]]:
    """Reply tokens of the better and the worse reply of every pair of a list."""
    counts = [reply.supervised for reply in one.replies]
    return [
        (counts[i], counts[j])
        for i in range(len(counts))
        for j in range(i + 1, len(counts))
        if one.labels[i] > one.labels[j]
    ]
