"""Preference and ranking rows -> comparisons: the replies to one prompt, and which beats which.

A pair is a list of two. A list counts as one element of the batch and each of its replies goes
through the model once, where expanding it to pairs would take K - 1 times as many forward passes
(InstructGPT, arXiv 2203.02155 section 3.5).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import permutations
from typing import Any

from tunelang.train import speech
from tunelang.train.data import Example
from tunelang.train.job import Job, fail
from tunelang.train.speech import Speech

AT_LEAST = 2  # replies that can be compared


@dataclass(frozen=True)
class Comparison:
    """K replies to one prompt as tokens, prompt included; `pairs` are (better, worse) places.

    `margin` is by how much the better one should win, where the rows say so.
    """

    replies: list[list[int]]
    pairs: list[tuple[int, int]]
    margin: float = 0.0

    @property
    def longest(self) -> int:
        return max(map(len, self.replies))

    @property
    def supervised(self) -> int:
        """Tokens of all replies: what a share by tokens counts."""
        return sum(map(len, self.replies))

    @property
    def best(self) -> int | None:
        """The reply that beats all others, None where there is no single one."""
        wins = [better for better, _worse in self.pairs]
        all_others = (at for at in wins if wins.count(at) == len(self.replies) - 1)
        return next(all_others, None)


@dataclass
class Tally:
    """Rows seen; rows left out by reason; single replies left out of longer lists."""

    seen: int = 0
    long: int = 0
    equal: int = 0
    no_best: int = 0
    long_replies: int = 0


@dataclass(frozen=True)
class Writer:
    """How rows become comparisons. A reply over `length` is left out, never cut: half a reply
    deserves another score than the whole."""

    speech: Speech
    length: int
    margin: bool = False
    best_of: bool = False
    tally: Tally = field(default_factory=Tally)

    def __call__(self, example: Example) -> list[Comparison]:
        values, place = example.values, example.place
        self.tally.seen += 1
        replies, worth = ordered(values, place)
        encoded = [self.tokens(values, reply, place) for reply in replies]
        kept = [at for at, ids in enumerate(encoded) if len(ids) <= self.length]
        if len(kept) < AT_LEAST:
            self.tally.long += 1
            return []
        self.tally.long_replies += len(encoded) - len(kept)
        margin = margin_of(values, place) if self.margin else 0.0
        return self.compared([encoded[at] for at in kept], [worth[at] for at in kept], margin)

    def tokens(self, values: Mapping[str, Any], reply: Any, place: str) -> list[int]:
        """Prompt and reply as the model will read them."""
        turns = self.speech.template is not None
        asked = speech.instruction({**values, "prompt": values.get("prompt", "")}, turns=turns)
        return speech.reply(self.speech, asked, reply, place).ids

    def compared(
        self, replies: list[list[int]], worth: Sequence[float], margin: float
    ) -> list[Comparison]:
        """One comparison, none where nothing is better than anything else. Ties form no pair."""
        made = Comparison(
            replies,
            [
                (one, other)
                for one, other in permutations(range(len(replies)), 2)
                if worth[one] > worth[other] and replies[one] != replies[other]
            ],
            margin,
        )
        if not made.pairs:
            self.tally.equal += 1
            return []
        if self.best_of and made.best is None:
            self.tally.no_best += 1
            return []
        return [made]


def ordered(values: Mapping[str, Any], place: str) -> tuple[list[Any], list[float]]:
    """The replies of a row and what each is worth: more is better. TL320 if they do not match."""
    if "chosen" in values:
        return [values["chosen"], values["rejected"]], [1.0, 0.0]
    named = next((name for name in ("ranks", "scores") if name in values), None)
    if named is None:
        fail("TL301", "missing-column", f"{place}: a list of replies needs `ranks` or `scores`")
    replies, given = values["replies"], values[named]
    if not isinstance(replies, list) or not isinstance(given, list):
        unreadable(place, f"`replies` and `{named}` are lists")
    if len(replies) != len(given):
        unreadable(place, f"it has {len(replies)} replies and {len(given)} {named}")
    return replies, [worth(each, named, place) for each in given]


def worth(given: Any, named: str, place: str) -> float:
    """A score as it is, a rank with its sign turned: rank 1 is the best."""
    if isinstance(given, bool) or not isinstance(given, int | float) or not math.isfinite(given):
        unreadable(place, f"`{named}` holds {given!r}, not a number")
    return float(given) if named == "scores" else -float(given)


def unreadable(place: str, why: str) -> None:
    fail("TL320", "unreadable-row", f"{place}: {why}")


def margin_of(values: Mapping[str, Any], place: str) -> float:
    """The row's margin; TL301 if it has none."""
    try:
        return float(values["margin"])
    except (KeyError, TypeError, ValueError):
        fail("TL301", "missing-column", f"{place}: margin = true, and the row has no margin")


def report(writer: Writer, job: Job) -> None:
    """Say which rows and replies are left out."""
    tally, length = writer.tally, writer.length
    out = f"of {tally.seen} pairs are left out:"
    if tally.long:
        job.note(f"{tally.long} {out} a side is longer than {length} tokens")
    if tally.equal:
        job.note(f"{tally.equal} {out} both replies are the same")
    if tally.no_best:
        job.note(f"{tally.no_best} {out} no single reply is the best")
    if tally.long_replies:
        job.note(
            f"{tally.long_replies} replies longer than {length} tokens are left out of their lists"
        )
