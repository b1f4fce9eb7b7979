"""Rows for the recipes of `tunelang new`: sums, enough of them to train on and plainly a stand-in.

Nothing is random, so the same template always brings the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

LARGEST = 20  # sums of 1 to 20: 400 rows, so that two epochs at a batch of 8 are 90 steps
Row = Callable[[int, int], dict[str, Any]]


def _ask(a: int, b: int) -> str:
    return f"What is {a} plus {b}?"


def _text(a: int, b: int) -> dict[str, Any]:
    """About 60 tokens: some rows fill a sequence."""
    return {
        "text": f"To add {a} and {b}, count {b} further from {a}: {a} plus {b} is {a + b}. "
        f"The order does not matter, so {b} plus {a} is {a + b} as well. "
        f"To check it, take {b} from {a + b}: what is left is {a}."
    }


def _answer(a: int, b: int) -> dict[str, Any]:
    return {"prompt": _ask(a, b), "reply": f"{a} plus {b} is {a + b}."}


def _talk(a: int, b: int) -> dict[str, Any]:
    asked = {"role": "user", "content": _ask(a, b)}
    replied = {"role": "assistant", "content": f"{a} plus {b} is {a + b}."}
    return {"messages": [asked, replied]}


def _pair(a: int, b: int) -> dict[str, Any]:
    """Both replies are as long: a judge must read the sum."""
    wrong = a + b + (1 if (a + b) % 10 < 9 else -1)
    chosen, rejected = (f"{a} plus {b} is {total}." for total in (a + b, wrong))
    return {"prompt": _ask(a, b), "chosen": chosen, "rejected": rejected}


def _prompt(a: int, b: int) -> dict[str, Any]:
    return {"prompt": _ask(a, b)}


def _ranked(a: int, b: int) -> dict[str, Any]:
    """Three sums, the nearer the better."""
    replies = [f"{a} plus {b} is {a + b + off}." for off in (0, 1, 3)]
    return {"prompt": _ask(a, b), "replies": replies, "ranks": [1, 2, 3]}


def _verdict(a: int, b: int) -> dict[str, Any]:
    good = (a + b) % 2 == 0
    return {
        "prompt": _ask(a, b),
        "reply": f"{a} plus {b} is {a + b + (0 if good else 1)}.",
        "good": good,
    }


def _labelled(a: int, b: int) -> dict[str, Any]:
    return {"text": f"{a} plus {b}", "label": "even" if (a + b) % 2 == 0 else "odd"}


FILES: dict[str, Row] = {
    "data/texts.jsonl": _text,
    "data/answers.jsonl": _answer,
    "data/talks.jsonl": _talk,
    "data/pairs.jsonl": _pair,
    "data/prompts.jsonl": _prompt,
    "data/lists.jsonl": _ranked,
    "data/verdicts.jsonl": _verdict,
    "data/parity.jsonl": _labelled,
}


def example(name: str) -> str:
    """The text of an example file."""
    return "".join(json.dumps(row) + "\n" for row in _rows(FILES[name]))


def _rows(row: Row) -> Iterator[dict[str, Any]]:
    numbers = range(1, LARGEST + 1)
    return (row(a, b) for a in numbers for b in numbers)
