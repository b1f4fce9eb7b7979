"""What a row says of its texts: a label, good or bad, a margin, an order of replies, an answer.

Read with the rows, so that a mistake in one is found before the run. A null margin is no margin.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from tunelang.sources.readers import kind_of, unreadable


def number(value: Any) -> bool:
    """A number that can be compared: not true or false, not NaN, not infinite."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def label(value: Any, place: str) -> Any:
    """A text, a number, or true or false."""
    if value == "":
        raise unreadable(place, "holds an empty text, not a label")
    if isinstance(value, str | bool) or number(value):
        return value
    raise unreadable(place, f"holds {_what(value)}, not a label", "a label is a text or a number")


def good(value: Any, place: str) -> bool:
    """True or false, or 1 or 0."""
    if value not in (True, False):
        raise unreadable(place, f"holds {_what(value)}, not true or false")
    return bool(value)


def margin(value: Any, place: str) -> Any:
    """A number, in a CSV as text."""
    try:
        found = float(value) if isinstance(value, str) else value
    except ValueError:
        found = value
    if found is not None and not number(found):
        raise unreadable(place, f"holds {_what(value)}, not a margin", "a margin is a number")
    return found


def order(value: Any, place: str) -> list[Any]:
    """Ranks or scores: a number for each reply."""
    if not isinstance(value, list):
        raise unreadable(place, f"holds {kind_of(value)}, not a list of numbers")
    for at, each in enumerate(value, 1):
        if not number(each):
            raise unreadable(f"{place} number {at}", f"is {_what(each)}, not a number")
    return value


def agree(values: Mapping[str, Any], place: str) -> None:
    """What depends on another column: an order is as long as its replies, an answer is a choice."""
    for role in ("ranks", "scores"):
        if role in values and len(values[role]) != len(values["replies"]):
            counts = f"{len(values['replies'])} replies and {len(values[role])} {role}"
            raise unreadable(place, f"has {counts}")
    if "answer" in values and not _chosen(values["answer"], values["choices"]):
        raise unreadable(
            place,
            f"has the answer {values['answer']!r}, which is none of its "
            f"{len(values['choices'])} choices",
            "it is the text of a choice, or its number, counted from 0",
        )


def _chosen(answer: Any, choices: list[str]) -> bool:
    placed = isinstance(answer, int) and not isinstance(answer, bool)
    return answer in choices or (placed and 0 <= answer < len(choices))


def _what(value: Any) -> str:
    """The value where it is short, else its kind."""
    return repr(value) if isinstance(value, str | int | float) else kind_of(value)


READERS = {"label": label, "good": good, "margin": margin, "ranks": order, "scores": order}
