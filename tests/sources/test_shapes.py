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


RANKS = DataFormat(kind="ranking", columns={"replies": "replies", "ranks": "ranks"})
SCORES = DataFormat(kind="ranking", columns={"replies": "replies", "scores": "scores"})
JUDGED = DataFormat(kind="feedback", columns={"good": "good"})
LABELLED = DataFormat(kind="labelled", columns={"label": "label"})
APART = DataFormat(
    kind="preference",
    columns={"prompt": "prompt", "chosen": "chosen", "rejected": "rejected", "margin": "margin"},
)
ASKED = DataFormat(kind="choices", columns={"choices": "choices", "answer": "answer"})
PAIR = {"prompt": "a", "chosen": "b", "rejected": "c"}
TWO = {"replies": ["b", "c"]}


@pytest.mark.parametrize(
    ("form", "row", "said"),
    [
        (SCORES, {**TWO, "scores": ["3", "1"]}, "`scores` number 1 is '3', not a number"),
        (SCORES, {**TWO, "scores": [1.0, float("nan")]}, "`scores` number 2 is nan, not a number"),
        (RANKS, {**TWO, "ranks": [True, False]}, "`ranks` number 1 is True, not a number"),
        (RANKS, {**TWO, "ranks": None}, "`ranks` holds nothing (null), not a list of numbers"),
        (RANKS, {**TWO, "ranks": [1, 2, 3]}, "has 2 replies and 3 ranks"),
        (JUDGED, {"good": "yes"}, "`good` holds 'yes', not true or false"),
        (JUDGED, {"good": 0.5}, "`good` holds 0.5, not true or false"),
        (JUDGED, {"good": None}, "`good` holds nothing (null), not true or false"),
        (LABELLED, {"label": [1]}, "`label` holds a list, not a label"),
        (LABELLED, {"label": None}, "`label` holds nothing (null), not a label"),
        (LABELLED, {"label": ""}, "`label` holds an empty text, not a label"),
        (APART, {**PAIR, "margin": float("nan")}, "`margin` holds nan, not a margin"),
        (APART, {**PAIR, "margin": "big"}, "`margin` holds 'big', not a margin"),
        (
            ASKED,
            {"choices": ["b", "c"], "answer": 2},
            "has the answer 2, which is none of its 2 choices",
        ),
        (
            ASKED,
            {"choices": ["b", "c"], "answer": "d"},
            "has the answer 'd', which is none of its 2 choices",
        ),
    ],
)
def test_verdicts_that_say_nothing(form: DataFormat, row: dict[str, Any], said: str) -> None:
    """TL320 before any run: labels, judgements, margins, orders and answers that cannot be used."""
    with pytest.raises(RowError) as problem:
        normalise(row, form, "a.jsonl:3")
    found = problem.value.diagnostic
    assert found.code == "TL320"
    assert found.message.removeprefix("a.jsonl:3").lstrip(": ") == said


@pytest.mark.parametrize(
    ("form", "row", "role", "read"),
    [
        (JUDGED, {"good": 1}, "good", True),
        (LABELLED, {"label": False}, "label", False),
        (APART, {**PAIR, "margin": "0.5"}, "margin", 0.5),  # of a CSV
        (APART, {**PAIR, "margin": None}, "margin", None),
        (ASKED, {"choices": ["b", "1"], "answer": "1"}, "answer", "1"),
    ],
)
def test_verdicts_as_read(form: DataFormat, row: dict[str, Any], role: str, read: object) -> None:
    """What is meant is read: a judgement as 1, a margin as text, no margin."""
    assert normalise(row, form, "")[role] == read
