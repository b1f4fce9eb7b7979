"""Well-known shapes are recognised, and every value is checked and put under its role."""

from __future__ import annotations

from typing import Any

import pytest

from tunelang.sources import RowError
from tunelang.sources.parts import DataFormat
from tunelang.sources.shapes import normalise, recognise

ASK = {"role": "user", "content": "a"}
SAY = {"role": "assistant", "content": "b"}
ELSE = {"role": "assistant", "content": "c"}

SHAPES: dict[str, tuple[dict[str, Any], str, dict[str, Any]]] = {
    "Alpaca": (
        {"instruction": "a", "input": "", "output": "b", "text": "all of it"},
        "instruct",
        {"prompt": "a", "input": "", "reply": "b"},
    ),
    "ShareGPT": (
        {
            "id": 1,
            "conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}],
        },
        "chat",
        {"messages": [ASK, SAY]},
    ),
    "OpenAI messages": (
        {"messages": [ASK, {"role": "assistant", "content": [{"type": "text", "text": "b"}]}]},
        "chat",
        {"messages": [ASK, SAY]},
    ),
    "TRL prompt-completion": (
        {"prompt": [ASK], "completion": [SAY]},
        "instruct",
        {"prompt": [ASK], "reply": [SAY]},
    ),
    "TRL preference": (
        {"chosen": [ASK, SAY], "rejected": [ASK, ELSE]},
        "preference",
        {"prompt": [ASK], "chosen": [SAY], "rejected": [ELSE]},
    ),
    "UltraFeedback": (
        {
            "prompt": "a",
            "chosen": [ASK, SAY],
            "rejected": [ASK, ELSE],
            "messages": [ASK, SAY],
            "score_chosen": 8.0,
            "score_rejected": 2.0,
        },
        "preference",
        {"prompt": "a", "chosen": [ASK, SAY], "rejected": [ASK, ELSE]},
    ),
    "TRL unpaired preference": (
        {"prompt": "a", "completion": "b", "label": True},
        "feedback",
        {"prompt": "a", "reply": "b", "good": True},
    ),
    "ranked replies": (
        {"prompt": "a", "replies": ["b", "c"], "scores": [1.0, 0.5]},
        "ranking",
        {"prompt": "a", "replies": ["b", "c"], "scores": [1.0, 0.5]},
    ),
    "TRL prompts": ({"prompt": "a"}, "prompt", {"prompt": "a"}),
    "multiple choice": (
        {"prompt": "a", "choices": ["b", "c"], "answer": 1},
        "choices",
        {"prompt": "a", "choices": ["b", "c"], "answer": 1},
    ),
    "labelled text": ({"text": "a", "label": 1}, "labelled", {"text": "a", "label": 1}),
    "text": ({"text": "a", "url": "b"}, "text", {"text": "a"}),
}


@pytest.mark.parametrize("name", SHAPES)
def test_well_known_shapes(name: str) -> None:
    """Each is named as people name it, and gives its roles without a mapping."""
    row, kind, values = SHAPES[name]
    form = recognise(row)
    assert form is not None
    assert (form.recognised, form.kind) == (name, kind)
    assert normalise(row, form, "a.jsonl:1") == values


@pytest.mark.parametrize("row", [{}, {"question": "a", "answer": "b"}, {"prompt": "a", "x": "b"}])
def test_unknown_shapes(row: dict[str, Any]) -> None:
    """Nothing is guessed: a prompt beside an unknown column may be half of a pair."""
    assert recognise(row) is None


def test_dialogues_as_pairs() -> None:
    """Anthropic's HH: the prompt is the shared dialogue up to the last `Assistant:`."""
    start = "\n\nHuman: a\n\nAssistant: b\n\nHuman: c\n\nAssistant:"
    row = {"chosen": f"{start} do", "rejected": f"{start} do not"}
    form = recognise(row)
    assert form is not None
    assert normalise(row, form, "") == {"prompt": start, "chosen": " do", "rejected": " do not"}


PREFERENCE = DataFormat(kind="preference", columns={"chosen": "chosen", "rejected": "rejected"})
INSTRUCT = DataFormat(kind="instruct", columns={"prompt": "question", "reply": "answer"})
CHAT = DataFormat(kind="chat", columns={"messages": "messages"})
LISTS = DataFormat(kind="ranking", columns={"replies": "replies"})
QUIZ = DataFormat(kind="choices", columns={"choices": "options"})


@pytest.mark.parametrize(
    ("form", "row", "said", "help"),
    [
        (
            INSTRUCT,
            {"qestion": "a", "answer": "b"},
            "a.jsonl:3 has no column `question`",
            "did you mean `qestion`?",
        ),
        (
            INSTRUCT,
            {"x": 1, "y": 2},
            "a.jsonl:3 has no column `question`",
            "its columns are x, y",
        ),
        (
            PREFERENCE,
            {"chosen": "one thing", "rejected": "one other"},
            "a.jsonl:3 has no column `prompt`",
            "its columns are chosen, rejected",
        ),
    ],
)
def test_missing_columns(form: DataFormat, row: dict[str, Any], said: str, help: str) -> None:
    """TL301 names the row, the column and the nearest that is there."""
    with pytest.raises(RowError) as problem:
        normalise(row, form, "a.jsonl:3")
    found = problem.value.diagnostic
    assert (found.code, found.message, found.help) == ("TL301", said, help)


@pytest.mark.parametrize(
    ("form", "row", "said"),
    [
        (INSTRUCT, {"question": None, "answer": "b"}, "`question` holds nothing (null), not text"),
        (INSTRUCT, {"question": "a", "answer": 3}, "`answer` holds a number, not text"),
        (QUIZ, {"options": "a"}, "`options` holds text, not a list of texts"),
        (QUIZ, {"options": []}, "`options` has no choice"),
        (QUIZ, {"options": ["a", "b", "a"]}, "`options` names one choice twice"),
        (LISTS, {"replies": "a"}, "`replies` holds text, not replies"),
        (LISTS, {"replies": []}, "`replies` holds an empty list, not replies"),
        (LISTS, {"replies": ["a", 3]}, "`replies` reply 2 holds a number, not text"),
        (CHAT, {"messages": "a"}, "`messages` holds text, not messages"),
        (CHAT, {"messages": []}, "`messages` holds an empty list, not messages"),
        (CHAT, {"messages": ["a"]}, "message 1 is text, not an object with role and content"),
        (CHAT, {"messages": [ASK, {"role": "bot", "content": "b"}]}, "message 2 is said by 'bot'"),
        (CHAT, {"messages": [{"content": "b"}]}, "message 1 does not say whose it is"),
        (
            CHAT,
            {"messages": [{"role": "user", "content": None}]},
            "message 1 holds nothing (null), not text",
        ),
        (
            CHAT,
            {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
            "message 1 has parts that are not text",
        ),
    ],
)
def test_wrong_values(form: DataFormat, row: dict[str, Any], said: str) -> None:
    """TL320 names the row, the column and what stands there in words of JSON, not of Python."""
    with pytest.raises(RowError) as problem:
        normalise(row, form, "a.jsonl:3")
    found = problem.value.diagnostic
    assert found.code == "TL320"
    assert found.message.startswith("a.jsonl:3: `")
    assert said in found.message


def test_optional_columns() -> None:
    """Under its default name an optional column may be absent; named by hand it may not."""
    quiet = DataFormat(kind="instruct", columns={"prompt": "a", "reply": "b", "system": "system"})
    named = DataFormat(kind="instruct", columns={"prompt": "a", "reply": "b", "system": "tone"})
    row = {"a": "1", "b": "2"}
    assert normalise(row, quiet, "") == {"prompt": "1", "reply": "2"}
    with pytest.raises(RowError, match="`tone`"):
        normalise(row, named, "")
