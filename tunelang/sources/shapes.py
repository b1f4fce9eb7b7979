"""Shapes: which format a row has, and raw columns -> values by role."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tunelang.diagnostic import error
from tunelang.recipe.names import did_you_mean, nearest
from tunelang.sources import RowError, calls, verdicts
from tunelang.sources.parts import DataFormat
from tunelang.sources.readers import kind_of, unreadable

# Who speaks: OpenAI's and ShareGPT's names -> the chat template's.
ROLES = {
    "human": "user",
    "gpt": "assistant",
    "user": "user",
    "assistant": "assistant",
    "system": "system",
    "tool": "tool",
    "function": "tool",
}
# What a role of a format may lack.
OPTIONAL = {
    "preference": ("prompt", "margin"),
    "instruct": ("system", "input", "weight"),
    "chat": ("tools",),
    "ranking": ("ranks", "scores"),
}
MESSAGE_COLUMNS = ("messages", "conversations", "conversation")
# How Anthropic's HH set, whose pairs hold the whole dialogue, marks who speaks.
ASSISTANT_SPEAKS = "\n\nAssistant:"


def recognise(row: Mapping[str, Any]) -> DataFormat | None:
    """The well-known shape of a row, None where it is none of them."""
    for shape in (_pairs, _conversation, _instruction, _plain):
        found = shape(row)
        if found:
            return found
    return None


def _pairs(row: Mapping[str, Any]) -> DataFormat | None:
    """Preference pairs, lists with scores or ranks, and single judgements."""
    has = set(row)
    if {"chosen", "rejected"} <= has:
        scored = {"score_chosen", "score_rejected"} <= has and isinstance(row["chosen"], list)
        roles = [name for name in ("prompt", "chosen", "rejected", "margin") if name in has]
        return _format("preference", roles, "UltraFeedback" if scored else "TRL preference")
    for order in ("ranks", "scores"):
        if {"prompt", "replies", order} <= has:
            return _format("ranking", ["prompt", "replies", order], "ranked replies")
    if {"prompt", "choices", "answer"} <= has:
        return _format("choices", ["prompt", "choices", "answer"], "multiple choice")
    if {"prompt", "reply", "good"} <= has:
        return _format("feedback", ["prompt", "reply", "good"], "judged replies")
    if {"prompt", "completion", "label"} <= has and isinstance(row["label"], bool):
        columns = {"prompt": "prompt", "reply": "completion", "good": "label"}
        return _format("feedback", columns, "TRL unpaired preference")
    return None


def _conversation(row: Mapping[str, Any]) -> DataFormat | None:
    for name in MESSAGE_COLUMNS:
        turns = row.get(name)
        if isinstance(turns, list) and turns and isinstance(turns[0], dict):
            shape = "ShareGPT" if "from" in turns[0] else "OpenAI messages"
            tools = {"tools": "tools"} if "tools" in row else {}
            return _format("chat", {"messages": name} | tools, shape)
    return None


def _instruction(row: Mapping[str, Any]) -> DataFormat | None:
    if {"instruction", "output"} <= set(row):
        columns = {"prompt": "instruction", "reply": "output"}
        columns |= {role: role for role in ("system", "input") if role in row}
        return _format("instruct", columns, "Alpaca")
    if {"prompt", "completion"} <= set(row):
        columns = {"prompt": "prompt", "reply": "completion"}
        return _format("instruct", columns, "TRL prompt-completion")
    return None


def _plain(row: Mapping[str, Any]) -> DataFormat | None:
    if {"text", "label"} <= set(row):
        return _format("labelled", ["text", "label"], "labelled text")
    if "text" in row:
        return _format("text", {"field": "text"}, "text")
    # A prompt beside other columns may be half of a pair that is named in another way.
    return _format("prompt", {"field": "prompt"}, "TRL prompts") if set(row) == {"prompt"} else None


def _format(kind: str, columns: Mapping[str, str] | Sequence[str], shape: str) -> DataFormat:
    """Columns by role, or a list of columns that are named as their roles."""
    named = dict(columns) if isinstance(columns, Mapping) else {name: name for name in columns}
    return DataFormat(kind=kind, columns=named, recognised=shape)  # type: ignore[arg-type]


# --- values by role -------------------------------------------------------------------------


def normalise(row: Mapping[str, Any], form: DataFormat, place: str) -> dict[str, Any]:
    """Values by role. Raises RowError for a missing column or a value of the wrong type."""
    values = {
        ("text" if form.kind == "text" else "prompt") if role == "field" else role: _checked(
            role, _cell(row, column, place), f"{place}: `{column}`"
        )
        for role, column in form.columns.items()
        if _wanted(row, role, column, form)
    }
    if form.kind == "preference" and "prompt" not in values:
        values = values | _implicit_prompt(values, place)
    verdicts.agree(values, place)
    return values


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
    listed = f"its columns are {', '.join(present)}" if present else "it has no columns"
    message = f"{place} has no column `{column}`"
    return RowError(error("TL301", "missing-column", message, None, help=guess or listed))


def _implicit_prompt(values: Mapping[str, Any], place: str) -> dict[str, Any]:
    """Chosen and rejected hold the whole dialogue: what both begin with is the prompt."""
    chosen, rejected = values["chosen"], values["rejected"]
    if isinstance(chosen, list) and isinstance(rejected, list):
        shared = _shared_turns(chosen, rejected)
    elif isinstance(chosen, str) and isinstance(rejected, str):
        spoken = chosen.split(ASSISTANT_SPEAKS)
        turns = _shared_turns(spoken, rejected.split(ASSISTANT_SPEAKS))
        shared = sum(len(turn + ASSISTANT_SPEAKS) for turn in spoken[:turns])
    else:
        shared = 0
    if not shared:
        raise missing_column("prompt", tuple(values), place)
    return {"prompt": chosen[:shared], "chosen": chosen[shared:], "rejected": rejected[shared:]}


def _shared_turns(chosen: Sequence[Any], rejected: Sequence[Any]) -> int:
    """How many turns both begin with; the last turn of each is a reply, not part of the prompt."""
    shared = 0
    for ours, theirs in zip(chosen[:-1], rejected[:-1], strict=False):
        if ours != theirs:
            break
        shared += 1
    return shared


def _checked(role: str, value: Any, place: str) -> Any:
    if role == "messages" or (
        isinstance(value, list) and role in ("field", "prompt", "chosen", "rejected", "reply")
    ):
        return messages(value, place)
    if role == "answer":  # a number or a text of another column: `agree` looks
        return value
    if role in verdicts.READERS:
        return verdicts.READERS[role](value, place)
    if role == "replies":
        return _replies(value, place)
    if role == "choices":
        return _choices(value, place)
    if role == "weight":
        return calls.weight(value, place)
    if role == "tools":
        return calls.tools(value, place)
    if role in ("system", "input") and value is None:
        return ""
    if not isinstance(value, str):
        raise unreadable(place, f"holds {kind_of(value)}, not text")
    return value


def _replies(value: Any, place: str) -> list[Any]:
    """Replies to one prompt: texts, or conversations that end in one."""
    if not isinstance(value, list) or not value:
        what = "an empty list" if value == [] else kind_of(value)
        raise unreadable(place, f"holds {what}, not replies")
    for number, each in enumerate(value, 1):
        if not isinstance(each, str | list):
            raise unreadable(f"{place} reply {number}", f"holds {kind_of(each)}, not text")
    return [messages(each, place) if isinstance(each, list) else each for each in value]


def _choices(value: Any, place: str) -> list[str]:
    """Answers to choose from: texts, all different."""
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise unreadable(place, f"holds {kind_of(value)}, not a list of texts")
    if not value or len(set(value)) < len(value):
        raise unreadable(place, "has no choice" if not value else "names one choice twice")
    return value


def messages(value: Any, place: str) -> list[dict[str, Any]]:
    """Messages as role and content, from OpenAI's or ShareGPT's shape."""
    if not isinstance(value, list) or not value:
        what = "an empty list" if value == [] else kind_of(value)
        raise unreadable(place, f"holds {what}, not messages")
    return [_message(each, f"{place} message {number}") for number, each in enumerate(value, 1)]


def _message(each: Any, place: str) -> dict[str, Any]:
    if not isinstance(each, dict):
        raise unreadable(place, f"is {kind_of(each)}, not an object with role and content")
    role, content = each.get("role", each.get("from")), each.get("content", each.get("value"))
    if role not in ROLES:
        raise unreadable(
            place,
            f"is said by {role!r}" if role else "does not say whose it is",
            f"a role is one of {', '.join(sorted(set(ROLES.values())))}",
        )
    called = calls.of_message(each, place)
    said = "" if content is None and called else _content(content, place)
    return {"role": ROLES[role], "content": said, **called}


def _content(content: Any, place: str) -> str:
    """Text, or OpenAI's list of parts of which all are text."""
    if isinstance(content, list) and content:
        parts = [part.get("text") if isinstance(part, dict) else None for part in content]
        if all(isinstance(part, str) for part in parts):
            return "".join(part for part in parts if part)
        raise unreadable(place, "has parts that are not text", "models here read text only")
    if not isinstance(content, str):
        raise unreadable(place, f"holds {kind_of(content)}, not text")
    return content
