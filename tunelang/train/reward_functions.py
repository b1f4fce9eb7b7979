"""Rewards that are computed, not learnt: length, regex, exact match and JSON.

Pure functions of a reply's text, in fixed ranges: the same reply scores the same anywhere. The
fields are declared in `tunelang/methods/policy.py`.
"""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any

from tunelang.train.job import fail

# Seconds a pattern may take on one reply. Matching is linear in practice, microseconds; a nested
# quantifier such as (a+)+$ doubles its time with every further character.
PATIENCE = 1.0


@dataclass(frozen=True)
class Reply:
    """A reply as a function reads it: without the token that ends it. `answer` is the row's own."""

    text: str
    tokens: int
    answer: str | None = None


Scorer = Callable[[Reply], float]


def scorer(wanted: Mapping[str, Any]) -> Scorer:
    """The function that a recipe names, as Step.fields holds it: `kind` and its fields."""
    fields = {name: value for name, value in wanted.items() if name != "kind"}
    return FUNCTIONS[wanted["kind"]](**fields)


def length(target: float) -> Scorer:
    """1 - min(1, |n - target| / target): 1 at `target` tokens, 0 at none and at twice as many.

    The distance to a wanted length, as in L1 (arXiv 2503.04697, eq. 1), scaled to 0..1.
    """
    return lambda reply: 1.0 - min(1.0, abs(reply.tokens - target) / target)


def regex(pattern: str, whole: bool) -> Scorer:
    """1 where the pattern is found in the reply (or is all of it, but for space around), else 0."""
    compiled = re.compile(pattern)
    match = compiled.fullmatch if whole else compiled.search

    def score(reply: Reply) -> float:
        with limited(pattern):
            return float(match(reply.text.strip() if whole else reply.text) is not None)

    return score


def exact_match(after: str, case: bool) -> Scorer:
    """1 where reply and answer are the same words, else 0.

    `after`: only what follows the last such mark counts ("####" in GSM8K, arXiv 2110.14168); a
    reply without the mark scores 0. Runs of space count as one.
    """

    def words(text: str) -> list[str] | None:
        _, mark, last = text.rpartition(after) if after else ("", "", text)
        if after and not mark:
            return None
        return (last if case else last.casefold()).split()

    def score(reply: Reply) -> float:
        said = words(reply.text)
        right = words(reply.answer or "")
        right = (reply.answer or "").split() if right is None else right
        return float(bool(said) and said == right)

    return score


def valid_json(keys: list[str] | None = None) -> Scorer:
    """0 where the reply is no JSON (RFC 8259), else (1 + keys that it has) / (1 + keys asked)."""
    asked = keys or []

    def score(reply: Reply) -> float:
        try:
            found = json.loads(reply.text, parse_constant=_no_number, parse_int=str)
        except (ValueError, RecursionError):
            return 0.0
        had = sum(key in found for key in asked) if isinstance(found, dict) else 0
        return (1 + had) / (1 + len(asked))

    return score


def _no_number(word: str) -> float:
    """NaN and Infinity, which Python reads and JSON does not have."""
    raise ValueError(word)


FUNCTIONS: Mapping[str, Callable[..., Scorer]] = {
    "length": length,
    "regex": regex,
    "exact_match": exact_match,
    "json": valid_json,
}


@contextmanager
def limited(pattern: str) -> Iterator[None]:
    """End the step where a pattern takes longer than PATIENCE: a score of 0 would be a lie, and
    one that depends on the machine's speed."""

    def late(_number: int, _frame: FrameType | None) -> None:
        fail(
            "TL527",
            "bad-pattern",
            f"the pattern {json.dumps(pattern)} took more than {PATIENCE:g} s on one reply",
            "a repeat inside a repeat, as in (a+)+, can take for ever: write it without",
        )

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, PATIENCE)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
