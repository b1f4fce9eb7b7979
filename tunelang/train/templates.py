"""Conversations -> token ids with a mask of what the model itself says.

Masks come from rendering prefixes of the conversation, so they hold for any template that writes
a longer conversation as a continuation of the shorter one; for others the row is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jinja2 import TemplateError

from tunelang.train.job import Job, fail
from tunelang.train.losses import IGNORED

Message = dict[str, Any]

# The format of OpenAI's ChatML, with the marks Hugging Face templates use for replies.
CHATML = (
    "{% for message in messages %}"
    "{% if message['role'] == 'assistant' %}"
    "{{ '<|im_start|>assistant\n' }}{% generation %}"
    "{{ message['content'] + '<|im_end|>' }}{% endgeneration %}{{ '\n' }}"
    "{% else %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
# The turn layout of Llama 3's model card.
LLAMA3 = (
    "{{ bos_token }}{% for message in messages %}"
    "{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n' }}"
    "{% if message['role'] == 'assistant' %}{% generation %}"
    "{{ message['content'] | trim + '<|eot_id|>' }}{% endgeneration %}"
    "{% else %}{{ message['content'] | trim + '<|eot_id|>' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}"
    "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)
BUILT_IN = {"chatml": (CHATML, "<|im_end|>"), "llama3": (LLAMA3, "<|eot_id|>")}


@dataclass(frozen=True)
class Tokens:
    """One row: `ids` [T] and `trained` [T], true where the token gets loss."""

    ids: list[int]
    trained: list[bool]

    @property
    def labels(self) -> list[int]:
        """What a row of these tokens is labelled with [T]."""
        pairs = zip(self.ids, self.trained, strict=True)
        return [token if trained else IGNORED for token, trained in pairs]


def choose(tokenizer: Any, wanted: str | None, job: Job) -> str:
    """Give the tokenizer the wanted chat template, or check that it has its own; return it.

    What is wanted is a name that is built in, or the text of a template.
    """
    if wanted is None:
        return own(tokenizer, job)
    text, end = BUILT_IN.get(wanted, (wanted, None))
    if end is not None and tokenizer.convert_tokens_to_ids(end) in (None, tokenizer.unk_token_id):
        if tokenizer.eos_token is None:
            fail("TL410", "token-not-in-vocabulary", f"the model has no token {end}")
        job.note(f"the model has no token {end}: turns end with {tokenizer.eos_token} instead")
        text = text.replace(end, tokenizer.eos_token)
    tokenizer.chat_template = text
    return text


def own(tokenizer: Any, job: Job) -> str:
    """The tokenizer's own template; ChatML, said aloud, where it has none."""
    if tokenizer.chat_template is None:
        job.note("the model has no chat template: conversations are written as chatml")
        return choose(tokenizer, "chatml", job)
    text: str = tokenizer.chat_template
    return text


def render(
    tokenizer: Any, messages: Sequence[Message], *, reply_next: bool, tools: Sequence[Any] = ()
) -> str:
    """The conversation as text; `reply_next` opens the assistant's turn at its end."""
    text: str = tokenizer.apply_chat_template(
        list(messages),
        tools=list(tools) or None,
        tokenize=False,
        add_generation_prompt=reply_next,
    )
    return text


def conversation(
    tokenizer: Any,
    messages: Sequence[Message],
    place: str,
    *,
    tools: Sequence[Any] = (),
    last: bool = False,
) -> Tokens:
    """Token ids of a conversation, the assistant's turns marked up to their end-of-turn token.

    Text before a reply is tokenised as generation will meet it, then the reply after it. `tools`
    are what the assistant may call; with `last` only the last of its turns is marked.
    `place` is where the row came from. Raises UserError TL414 when the template rewrites earlier
    turns, so that no mask would be right, and TL401 when it leaves out tools or calls.
    """
    need_tools(tokenizer, messages, tools, place)
    ids: list[int] = []
    trained: list[bool] = []
    done = ""
    try:
        for count, message in enumerate(messages, start=1):
            if message["role"] != "assistant":
                continue
            before = render(tokenizer, messages[: count - 1], reply_next=True, tools=tools)
            after = render(tokenizer, messages[:count], reply_next=False, tools=tools)
            if not (before.startswith(done) and after.startswith(before)):
                rewrites(place)
            context = encode(tokenizer, before[len(done) :])
            reply = encode(tokenizer, after[len(before) :])
            ids += context + reply
            earlier = [False] * len(trained) if last else trained
            trained = [*earlier, *[False] * len(context), *until_end(tokenizer, reply)]
            done = after
        whole = render(tokenizer, messages, reply_next=False, tools=tools)
    except TemplateError as problem:
        fail("TL401", "no-chat-template", f"{place}: the chat template refuses this row: {problem}")
    if not whole.startswith(done):
        rewrites(place)
    rest = encode(tokenizer, whole[len(done) :])
    return Tokens(ids + rest, trained + [False] * len(rest))


def prompt(
    tokenizer: Any, messages: Sequence[Message], place: str, tools: Sequence[Any] = ()
) -> list[int]:
    """Token ids up to where the assistant speaks next."""
    need_tools(tokenizer, messages, tools, place)
    try:
        return encode(tokenizer, render(tokenizer, messages, reply_next=True, tools=tools))
    except TemplateError as problem:
        fail("TL401", "no-chat-template", f"{place}: the chat template refuses this row: {problem}")


def need_tools(
    tokenizer: Any, messages: Sequence[Message], tools: Sequence[Any], place: str
) -> None:
    """TL401: a template that never speaks of tools would leave them and their calls out."""
    text = str(tokenizer.chat_template)
    calls = any(message.get("tool_calls") for message in messages)
    missing = ["tools"] if tools and "tools" not in text else []
    missing += ["tool_calls"] if calls and "tool_calls" not in text else []
    if missing:
        fail(
            "TL401",
            "no-chat-template",
            f"{place}: the row has {' and '.join(missing)}, and the chat template writes none",
            "name a .jinja file that does, or a model whose own template does",
        )


def encode(tokenizer: Any, text: str) -> list[int]:
    """Ids of template text: the template writes its own BOS, so none is added."""
    ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    return ids


def until_end(tokenizer: Any, reply: list[int]) -> list[bool]:
    """True up to the turn's last special token; a line end after it is the template's, not said."""
    special = set(tokenizer.all_special_ids)
    ends = [place for place, token in enumerate(reply) if token in special]
    last = ends[-1] if ends else len(reply) - 1
    return [place <= last for place in range(len(reply))]


def end_of_turn(tokenizer: Any) -> set[int]:
    """Tokens that end a reply: EOS, and what the template writes at the end of one."""
    ends = {tokenizer.eos_token_id} - {None}
    if tokenizer.chat_template is None:
        return ends
    turn = conversation(
        tokenizer,
        [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}],
        "chat template",
    )
    said = [token for token, mine in zip(turn.ids, turn.trained, strict=True) if mine]
    return ends | ({said[-1]} if said and said[-1] in tokenizer.all_special_ids else set())


def rewrites(place: str) -> None:
    """TL414: no mask can be right for this row."""
    fail(
        "TL414",
        "no-reply-marks",
        f"{place}: the chat template writes earlier turns differently once later ones follow, "
        "so what the assistant said cannot be marked",
        'use template = "chatml", or one reply a row',
    )
