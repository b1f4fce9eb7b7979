"""What a row says beside its words: how much it counts, the tools there are, calls of them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from tunelang.sources.readers import kind_of, unreadable


def weight(value: Any, place: str) -> float:
    """How much a row's loss counts: a number above 0, in a CSV as text."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise unreadable(place, f"holds {kind_of(value)}, not a weight", ABOVE_ZERO) from None
    if isinstance(value, bool) or not math.isfinite(number) or number <= 0:
        raise unreadable(place, f"holds the weight {value}", ABOVE_ZERO)
    return number


ABOVE_ZERO = "a weight is a number above 0; leave out a row that is not to be learned"


def tools(value: Any, place: str) -> list[Any]:
    """Descriptions of tools as objects; a text is read as JSON, nothing is no tool."""
    found = _json(value, place) if isinstance(value, str) and value.strip() else value or []
    if not isinstance(found, list) or not all(isinstance(each, Mapping) for each in found):
        raise unreadable(place, f"holds {kind_of(found)}, not a list of tools")
    return found


def of_message(message: Mapping[str, Any], place: str) -> dict[str, Any]:
    """The calls a message makes, or which call and tool it answers; empty for most messages.

    Arguments become objects, as chat templates expect them; OpenAI writes them as text.
    """
    answers = message.get("role", message.get("from")) in ("tool", "function")
    names = ("name", "tool_call_id") if answers else ()
    kept = {name: message[name] for name in names if message.get(name)}
    made = message.get("tool_calls")
    if not made:
        return kept
    if not isinstance(made, list) or not all(isinstance(each, Mapping) for each in made):
        raise unreadable(place, f"holds {kind_of(made)} as tool_calls, not a list of calls")
    return {**kept, "tool_calls": [_call(each, place) for each in made]}


def _call(call: Mapping[str, Any], place: str) -> dict[str, Any]:
    function = call.get("function", call)
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
        raise unreadable(place, "calls a tool without its name")
    given = function.get("arguments")
    arguments = _json(given, place) if isinstance(given, str) else given
    said = {**function, "arguments": arguments or {}}
    return {**call, "function": said} if "function" in call else said


def _json(text: str, place: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as problem:
        raise unreadable(place, f"holds a tool's words that are no JSON: {problem}") from None
