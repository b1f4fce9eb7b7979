"""Rows of few-shot data as questions: a prompt, the answers it could have, and the right one.

Labelled rows become questions by a pattern (and words for their labels, as in PET: Schick and
Schütze 2021, arXiv 2001.07676), rows with choices as they are, instruct rows with the replies that
the data knows, where those are few.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tunelang.train import speech as spoken
from tunelang.train.data import Example, Split
from tunelang.train.exemplars import folded
from tunelang.train.job import Job, fail
from tunelang.train.labelled import label_of
from tunelang.train.speech import Speech, Text

CLASSES = 32  # replies that are taken for classes; with more, a reply is free text


@dataclass(frozen=True)
class Question:
    """`choices` is empty where the answer is free text; else `choices[right]` is `answer`."""

    prompt: Text
    answer: str
    choices: tuple[str, ...]
    place: str

    @property
    def right(self) -> int:
        return self.choices.index(self.answer)


@dataclass(frozen=True)
class Asking:
    """How rows are asked: a pattern with `{text}` for labelled rows, and the word of each label.

    `replies` are the answers that instruct rows choose from; empty: any text.
    """

    speech: Speech
    pattern: str
    words: Mapping[str, str]
    replies: tuple[str, ...] = ()

    def __call__(self, example: Example) -> list[Question]:
        """The question of one row."""
        return [question(self, example)]


def asking(
    speech: Speech, splits: Sequence[Split[Example]], how: Mapping[str, Any], job: Job
) -> Asking:
    """Labels and replies of all rows, said aloud; `how` holds `pattern` and `words`."""
    rows = [row for split in splits for row in (*split.train, *split.held_out)]
    labels = sorted({label_of(row) for row in rows if row.kind == "labelled"})
    words = worded(labels, how.get("words"), job)
    replies = {row.values["reply"] for row in rows if row.kind == "instruct"}
    texts = {reply for reply in replies if isinstance(reply, str)}
    closed = len(texts) == len(replies) and len(texts) <= CLASSES
    if replies:
        free = f"more than {CLASSES} different ones" if not closed else ""
        job.note(
            f"replies are free text: there are {free}"
            if free
            else f"the {len(texts)} replies of the data are the choices of every row"
        )
    return Asking(speech, str(how.get("pattern")), words, tuple(sorted(texts)) if closed else ())


def worded(labels: Sequence[str], words: Sequence[str] | None, job: Job) -> dict[str, str]:
    """The word of each label in sorted order of labels; the label itself where none is given."""
    if not labels:
        return {}
    if words is not None and (len(words) != len(labels) or len(set(words)) < len(words)):
        fail(
            "TL530",
            "words-for-labels",
            f"`words` names {len(words)} words, and the rows have the labels {', '.join(labels)}",
            "write one word of its own for each label, in this order",
        )
    found = dict(zip(labels, words or labels, strict=True))
    said = ", ".join(name if name == word else f"{name} as {word}" for name, word in found.items())
    job.note(f"{len(labels)} labels: {said}")
    return found


def question(asking: Asking, example: Example) -> Question:
    """One row as a question."""
    values, turns = example.values, asking.speech.template is not None
    if example.kind == "labelled":
        lead = "" if turns or asking.pattern[-1:].isspace() else " "
        choices = tuple(lead + word for word in asking.words.values())
        answer = lead + word_of(asking, label_of(example), example.place)
        return Question(asked(asking.pattern, values["text"]), answer, choices, example.place)
    if example.kind == "choices":
        listed = tuple(values["choices"])
        answer = answer_of(values["answer"], listed, example.place)
        return Question(values["prompt"], answer, listed, example.place)
    if example.kind != "instruct":
        message = f"{example.place}: `{example.kind}` rows are no questions with an answer"
        fail("TL302", "wrong-format", message, "few_shot asks labelled, instruct and choices rows")
    prompt = spoken.instruction(values, turns=turns)
    text = spoken.said(values) or ""
    known = asking.replies if text in asking.replies else ()
    return Question(prompt, text, known, example.place)


def word_of(asking: Asking, label: str, place: str) -> str:
    """The word of a label; TL738 for one that the stage's own rows do not have."""
    if label not in asking.words:
        help = f"the labels are {', '.join(asking.words)}"
        fail("TL738", "unknown-class", f"{place}: no row of the stage is labelled `{label}`", help)
    return asking.words[label]


def asked(pattern: str, text: str) -> str:
    """A text in its pattern; braces of the text are left alone."""
    return pattern.replace("{text}", text)


def answer_of(answer: Any, choices: Sequence[str], place: str) -> str:
    """The right choice, named by its number (from 0) or its text."""
    if isinstance(answer, int) and not isinstance(answer, bool) and 0 <= answer < len(choices):
        answer = choices[answer]
    if answer not in choices:
        fail(
            "TL320",
            "unreadable-row",
            f"{place}: the answer {answer!r} is none of its {len(choices)} choices",
            "it is the text of a choice, or its number, counted from 0",
        )
    return str(answer)


def key(prompt: Text) -> str:
    """What questions are compared by: the text, or what the user said last."""
    if isinstance(prompt, str):
        return prompt
    said = [turn["content"] for turn in prompt if turn["role"] == "user"]
    return str(said[-1]) if said else str(prompt[-1]["content"])


def tell_doubles(splits: Sequence[Split[Example]], asking: Asking, job: Job) -> None:
    """Say how many held-out questions are trained on too, by their text (guard L35)."""
    trained = [folded(key(question(asking, row).prompt)) for one in splits for row in one.train]
    held = [folded(key(question(asking, row).prompt)) for one in splits for row in one.held_out]
    seen = sum(text in set(trained) for text in held)
    if seen:
        job.warn(
            f"{seen} of {len(held)} held-out questions are trained on too: what is measured on"
            " them is remembered, not learnt"
        )
