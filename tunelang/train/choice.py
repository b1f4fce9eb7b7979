"""Replies to a prompt -> the rows that are kept of them, by their scores. Pure.

Best of n: the reply with the highest score (WebGPT, arXiv 2112.09332, section 2); extremes: the
best against the worst, a pair for preference learning (Llama 2, arXiv 2307.09288, section 3.2.3).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

Row = dict[str, Any]


@dataclass(frozen=True)
class Candidate:
    """A reply, its score where a judge gave one, and whether it ended."""

    text: str
    score: float | None = None
    ended: bool = True

    @property
    def worth(self) -> float:
        """The score; a choice is made among scored replies only."""
        if self.score is None:
            msg = "a choice needs scores"
            raise ValueError(msg)
        return self.score


@dataclass
class Tally:
    """What was left out, and what came twice: replies, and prompts without any row."""

    unfinished: int = 0
    dropped: int = 0
    repeated: int = 0
    prompts: int = 0
    seen: int = 0


@dataclass(frozen=True)
class Choice:
    """`keep` as the step's fields hold it (kind and its own), the format of the rows it makes."""

    keep: dict[str, Any]
    format: str
    drop_unfinished: bool = False
    tally: Tally = field(default_factory=Tally)

    def __call__(self, prompt: Any, replies: Sequence[Candidate]) -> list[Row]:
        """The rows of one prompt, none where no reply is kept."""
        rest = self.finished(replies)
        self.tally.repeated += len(rest) - len(distinct(rest))
        rows = KINDS[self.keep["kind"]](self, prompt, rest) if rest else []
        self.tally.prompts += not rows
        return rows

    def finished(self, replies: Sequence[Candidate]) -> list[Candidate]:
        """All of them, or those that ended; counted either way."""
        cut = sum(not reply.ended for reply in replies)
        self.tally.seen += len(replies)
        self.tally.unfinished += cut
        if not (self.drop_unfinished and cut):
            return list(replies)
        self.tally.dropped += cut
        return [reply for reply in replies if reply.ended]


def distinct(replies: Sequence[Candidate]) -> list[Candidate]:
    """The first of each text."""
    first: dict[str, Candidate] = {}
    for reply in replies:
        first.setdefault(reply.text, reply)
    return list(first.values())


def ranked(replies: Sequence[Candidate]) -> list[Candidate]:
    """Each text once, best first; equal scores in the order they were drawn."""
    return sorted(distinct(replies), key=lambda reply: -reply.worth)


def listed(choice: Choice, prompt: Any, replies: Sequence[Candidate]) -> list[Row]:
    """One row of all replies in the order given, with their scores where there are some."""
    if choice.format == "instruct":
        return [{"prompt": prompt, "reply": replies[0].text}]
    row: Row = {"prompt": prompt, "replies": [reply.text for reply in replies]}
    if all(reply.score is not None for reply in replies):
        row["scores"] = [reply.score for reply in replies]
    return [row]


def best(choice: Choice, prompt: Any, replies: Sequence[Candidate]) -> list[Row]:
    return listed(choice, prompt, ranked(replies)[: choice.keep["count"]])


def above(choice: Choice, prompt: Any, replies: Sequence[Candidate]) -> list[Row]:
    """A row for each reply over the score."""
    good = [reply for reply in ranked(replies) if reply.worth > choice.keep["score"]]
    return [{"prompt": prompt, "reply": reply.text} for reply in good]


def extremes(choice: Choice, prompt: Any, replies: Sequence[Candidate]) -> list[Row]:
    """The best against the worst; none where they are worth the same."""
    order = ranked(replies)
    margin = order[0].worth - order[-1].worth
    if margin <= 0:
        return []
    pair = {"chosen": order[0].text, "rejected": order[-1].text}
    return [{"prompt": prompt, **pair, "margin": margin}]


KINDS: dict[str, Callable[[Choice, Any, Sequence[Candidate]], list[Row]]] = {
    "all": listed,
    "best": best,
    "above": above,
    "extremes": extremes,
}
