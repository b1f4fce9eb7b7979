"""How a model is spoken to: rows of every format -> token ids with a mask of what is trained.

A model with a chat template hears prompts as user turns and answers as the assistant; one without
reads a prompt as plain text and its reply right after it. Every stage of a chain uses this, so
that reward and policy see the same tokens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tunelang.train import templates
from tunelang.train.forward import Row
from tunelang.train.job import fail
from tunelang.train.templates import Message, Tokens

Text = str | Sequence[Message]


@dataclass(frozen=True)
class Speech:
    """A tokenizer, and whether prompts given as strings go through its chat template."""

    tokenizer: Any
    template: str | None

    @property
    def stop(self) -> set[int]:
        """Tokens that end a reply."""
        if self.template is None:
            return {self.tokenizer.eos_token_id} - {None}
        return templates.end_of_turn(self.tokenizer)


def text(speech: Speech, words: str) -> Tokens:
    """BOS (where the model has one of its own), the text, EOS; every token trained."""
    ids = [*opening(speech), *templates.encode(speech.tokenizer, words), *closing(speech)]
    return Tokens(ids, [True] * len(ids))


def reply(speech: Speech, asked: Text, answer: Text, place: str) -> Tokens:
    """A prompt and its reply; the reply and what ends it are trained."""
    if speech.template is None and isinstance(asked, str) and isinstance(answer, str):
        before = prompt(speech, asked, place)
        after = [*templates.encode(speech.tokenizer, answer), *closing(speech)]
        return Tokens(before + after, [False] * len(before) + [True] * len(after))
    opened, said_after = as_turns(asked, "user"), as_turns(answer, "assistant")
    if said_after[: len(opened)] == opened:  # UltraFeedback repeats the prompt in each answer
        said_after = said_after[len(opened) :]
    tokens = conversation(speech, [*opened, *said_after], place)
    said = len(prompt(speech, opened, place))
    mine = [trained and at >= said for at, trained in enumerate(tokens.trained)]
    return Tokens(tokens.ids, mine)


def row(speech: Speech, asked: Text, answer: Text, place: str) -> Row:
    """The same as a row whose labels are the reply and what ends it."""
    tokens = reply(speech, asked, answer, place)
    return Row(tokens.ids, tokens.labels)


def said(values: Mapping[str, Any]) -> str | None:
    """The words of the reply that a row holds: in a conversation the first, before which
    `rows.asked` asks; None where it holds none."""
    if "messages" in values:
        turns = values["messages"]
        return next((str(turn["content"]) for turn in turns if turn["role"] == "assistant"), None)
    answer = values.get("reply")
    return answer if answer is None or isinstance(answer, str) else str(answer[-1]["content"])


def conversation(
    speech: Speech,
    turns: Sequence[Message],
    place: str,
    *,
    tools: Sequence[Any] = (),
    last: bool = False,
) -> Tokens:
    """A conversation; the assistant's turns are trained, or the last of them."""
    need_template(speech, place)
    return templates.conversation(speech.tokenizer, turns, place, tools=tools, last=last)


def prompt(speech: Speech, asked: Text, place: str) -> list[int]:
    """Token ids of a prompt, up to where the model speaks."""
    if speech.template is None and isinstance(asked, str):
        return [*opening(speech), *templates.encode(speech.tokenizer, asked)]
    need_template(speech, place)
    return templates.prompt(speech.tokenizer, as_turns(asked, "user"), place)


def instruction(values: Mapping[str, Any], *, turns: bool) -> Text:
    """The prompt of an instruct row: system, prompt and input, as turns or as one text."""
    asked = values["prompt"]
    if not isinstance(asked, str):
        return [dict(turn) for turn in asked]
    if values.get("input"):
        asked = f"{asked}\n\n{values['input']}"
    system = values.get("system")
    if turns:
        opened = [{"role": "system", "content": system}] if system else []
        return [*opened, {"role": "user", "content": asked}]
    return f"{system}\n\n{asked}" if system else asked


def as_turns(words: Text, role: str) -> list[Message]:
    """A string as one turn of `role`; turns as they are."""
    if isinstance(words, str):
        return [{"role": role, "content": words}]
    return [dict(turn) for turn in words]


def need_template(speech: Speech, place: str) -> None:
    """TL401: turns cannot be written without a template."""
    if speech.tokenizer.chat_template is None:
        fail(
            "TL401",
            "no-chat-template",
            f"{place}: the row is a conversation, and the model has no chat template",
            'use instruction_tuning with template = "chatml" first',
        )


def opening(speech: Speech) -> list[int]:
    """[BOS] if the tokenizer puts one before plain text by itself, else nothing."""
    first: list[int] = speech.tokenizer("a")["input_ids"][:1]
    return first if first == [speech.tokenizer.bos_token_id] else []


def closing(speech: Speech) -> list[int]:
    """[EOS], which teaches a model to stop."""
    end = speech.tokenizer.eos_token_id
    if end is None:
        fail("TL410", "token-not-in-vocabulary", "the model's tokenizer has no end-of-text token")
    return [end]
