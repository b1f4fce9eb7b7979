"""Shapes: which format a row has, and raw columns -> values by role."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tunelang.diagnostic import error
from tunelang.recipe.names import did_you_mean, nearest
from tunelang.sources import RowError
from tunelang.sources.parts import DataFormat

ROLES = {
    "human": "user",
    "gpt": "assistant",
    "user": "user",
    "assistant": "assistant",
    "system": "system",
    "tool": "tool",
    "function": "tool",
    "bing": "tool",
}
# What a role of a format may lack.
OPTIONAL = {
    "preference": ("prompt", "margin"),
    "instruct": ("system", "input"),
    "ranking": ("ranks", "scores"),
}


def recognise(row: Mapping[str, Any]) -> DataFormat | None:
    """The well-known shape of a row, None where it is none of them."""
    has = set(row)
    messages = _message_column(row)
    if {"chosen", "rejected"} <= has:
        shape = (
            "UltraFeedback"
            if isinstance(row["chosen"], list) and {"score_chosen", "score_rejected"} <= has
            else "TRL preference"
        )
        columns = {"chosen": "chosen", "rejected": "rejected"}
        return _format(
            "preference", columns | ({"prompt": "prompt"} if "prompt" in has else {}), shape
        )
    if messages:
        return _format(
            "chat",
            {"messages": messages},
            "ShareGPT" if messages == "conversations" else "OpenAI messages",
        )
    if {"instruction", "output"} <= has:
        columns = {"prompt": "instruction", "reply": "output"} | (
            {"input": "input"} if "input" in has else {}
        )
        return _format("instruct", columns, "Alpaca")
    if {"prompt", "completion"} <= has:
        return _format(
            "instruct", {"prompt": "prompt", "reply": "completion"}, "TRL prompt-completion"
        )
    if has == {"prompt"}:
        return _format("prompt", {"field": "prompt"}, "TRL prompts")
    if "text" in has and "label" in has:
        return _format("labelled", {"text": "text", "label": "label"}, "labelled text")
    return _format("text", {"field": "text"}, "text") if "text" in has else None


def _format(kind: str, columns: dict[str, str], shape: str) -> DataFormat:
    return DataFormat(kind=kind, columns=columns, recognised=shape)  # type: ignore[arg-type]


def _message_column(row: Mapping[str, Any]) -> str | None:
    for name in ("messages", "conversations", "conversation"):
        if isinstance(row.get(name), list):
            return name
    return None


def normalise(row: Mapping[str, Any], form: DataFormat, place: str) -> dict[str, Any]:
    """Values by role. Raises RowError for a missing column or a value of the wrong type."""
    values = {
        role: _cell(row, column, place)
        for role, column in form.columns.items()
        if _wanted(row, role, column, form)
    }
    if form.kind in ("text", "prompt"):
        values = {("text" if form.kind == "text" else "prompt"): values["field"]}
    if form.kind == "preference" and "prompt" not in values:
        values |= _implicit_prompt(values, place)
    return {role: _checked(form.kind, role, value, place) for role, value in values.items()}


def _wanted(row: Mapping[str, Any], role: str, column: str, form: DataFormat) -> bool:
    """A default column that is optional may be missing."""
    return column in row or not (role in OPTIONAL.get(form.kind, ()) and column == role)


def _cell(row: Mapping[str, Any], column: str, place: str) -> Any:
    if column not in row:
        raise missing_column(column, tuple(row), place)
    return row[column]


def missing_column(column: str, present: Sequence[str], place: str) -> RowError:
    """TL301."""
    guess = did_you_mean(nearest(column, present))
    return RowError(
        error(
            "TL301",
            "missing-column",
            f"{place} has no column `{column}`",
            None,
            help=guess or f"its columns are {', '.join(present)}",
        )
    )


def _implicit_prompt(values: Mapping[str, Any], place: str) -> dict[str, Any]:
    """Chosen and rejected as whole conversations: what they share before the last turn."""
    chosen, rejected = values["chosen"], values["rejected"]
    if not (
        isinstance(chosen, list)
        and isinstance(rejected, list)
        and len(chosen) > 1
        and len(rejected) > 1
    ):
        raise missing_column("prompt", tuple(values), place)
    return {"prompt": chosen[:-1], "chosen": chosen[-1:], "rejected": rejected[-1:]}


def _checked(kind: str, role: str, value: Any, place: str) -> Any:
    if role == "messages" or (
        isinstance(value, list) and role in ("prompt", "chosen", "rejected", "reply")
    ):
        return messages(value, place)
    if role in ("margin", "good", "label", "ranks", "scores", "replies"):
        return value
    if role in ("system", "input") and value is None:
        return ""
    if not isinstance(value, str):
        raise _wrong(place, f"column for `{role}` holds {type(value).__name__}, not text")
    return value


def messages(value: Any, place: str) -> list[dict[str, str]]:
    """Messages as role and content, from OpenAI's or ShareGPT's shape."""
    if not isinstance(value, list) or not value:
        raise _wrong(place, "has no messages")
    return [_message(each, place) for each in value]


def _message(each: Any, place: str) -> dict[str, str]:
    if not isinstance(each, dict):
        raise _wrong(place, f"a message is {type(each).__name__}, not an object")
    role, content = each.get("role", each.get("from")), each.get("content", each.get("value"))
    if role not in ROLES or not isinstance(content, str):
        raise _wrong(
            place, f"a message needs a role ({', '.join(sorted(set(ROLES.values())))}) and text"
        )
    return {"role": ROLES[role], "content": content}


def _wrong(place: str, why: str) -> RowError:
    return RowError(error("TL320", "unreadable-row", f"{place}: {why}", None))
