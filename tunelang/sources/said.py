"""What a row says: its prompt, its replies, and how many characters each is. Rows are by role."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

# What a row of each format says after its prompt; only one of them stands in a sequence.
REPLIES = ("chosen", "rejected", "reply")
CHOICES = ("replies", "choices", "answer")  # an answer is one of the choices


def length(values: Any) -> int:
    """Characters of all text in a row; of messages what is said, not who says it."""
    if isinstance(values, str):
        return len(values)
    if isinstance(values, Mapping):
        said = [values["content"]] if {"role", "content"} <= set(values) else values.values()
        return sum(map(length, said))
    return sum(map(length, values)) if isinstance(values, Sequence) else 0


def sequence(values: Mapping[str, Any]) -> int:
    """Characters of the longest sequence that a row makes: a prompt with one of its replies."""
    listed = values.get("replies", values.get("choices"))
    one_of = [length(values[role]) for role in REPLIES if role in values]
    one_of += [length(each) for each in listed] if isinstance(listed, Sequence) else []
    rest = [each for role, each in values.items() if role not in (*REPLIES, *CHOICES)]
    return length(rest) + max(one_of, default=0)


def before_reply(values: Mapping[str, Any]) -> int:
    """Characters before the first reply, 0 where a row has none."""
    messages = values.get("messages")
    if messages is None:
        has = any(role in values for role in (*REPLIES, *CHOICES))
        return length([values.get(role) for role in ("system", "prompt", "input")]) if has else 0
    speakers = [each["role"] for each in messages]
    return length(messages[: speakers.index("assistant")]) if "assistant" in speakers else 0


def replies(values: Mapping[str, Any]) -> int:
    """How often the assistant speaks in a conversation."""
    return sum(each["role"] == "assistant" for each in values.get("messages") or ())


def asked(values: Mapping[str, Any]) -> str:
    """The first thing that is asked, without spaces around it; empty for plain text."""
    found = values.get("messages") or values.get("prompt") or ""
    if isinstance(found, str):
        return found.strip()
    return next((each["content"].strip() for each in found if each["role"] == "user"), "")
