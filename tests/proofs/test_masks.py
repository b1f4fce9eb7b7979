"""Masks cover exactly what the assistant says, up to the token that ends its turn."""

from __future__ import annotations

from typing import Any

import pytest
from workshop import Shop, part, training

from tunelang.errors import UserError
from tunelang.sources.parts import DataFormat
from tunelang.sources.shapes import normalise
from tunelang.train import data, rows, speech, templates
from tunelang.train.job import Job
from tunelang.train.losses import IGNORED
from tunelang.train.speech import Speech
from tunelang.train.templates import CHATML, LLAMA3

TURNS = [
    {"role": "system", "content": "be brief"},
    {"role": "user", "content": "say cat"},
    {"role": "assistant", "content": "the cat"},
    {"role": "user", "content": "and dog"},
    {"role": "assistant", "content": "the dog."},
]
# No generation marks and a default system prompt, as SmolLM2's own template.
UNMARKED = (
    "{% for m in messages %}{% if loop.first and m['role'] != 'system' %}"
    "{{ '<|im_start|>system\nyou help<|im_end|>\n' }}{% endif %}"
    "{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>' + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
# Writes only the last reply in full, as reasoning models hide earlier thoughts.
REWRITING = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' }}"
    "{% if m['role'] == 'assistant' and not loop.last %}{{ '...' }}"
    "{% else %}{{ m['content'] }}{% endif %}{{ '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)

# Writes tools, their calls and what they answer, in the manner of Qwen2.5's own template.
TOOLS = (
    "{% if tools %}{{ '<|im_start|>system\ntools: ' }}{% for t in tools %}{{ t | tojson }}"
    "{% endfor %}{{ '<|im_end|>\n' }}{% endif %}{% for m in messages %}"
    "{{ '<|im_start|>' + m['role'] + '\n' + m['content'] }}"
    "{% if m.tool_calls %}{% for call in m.tool_calls %}{{ '<tool_call>' }}"
    "{{ {'name': call.function.name, 'arguments': call.function.arguments} | tojson }}"
    "{{ '</tool_call>' }}{% endfor %}{% endif %}{{ '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
LOOK_UP = [{"type": "function", "function": {"name": "look_up", "parameters": {}}}]
CALLS = [
    {"role": "user", "content": "is it red?"},
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {"type": "function", "function": {"name": "look_up", "arguments": '{"word": "sun"}'}}
        ],
    },
    {"role": "tool", "name": "look_up", "content": "the sun was red"},
    {"role": "assistant", "content": "it was red."},
]


def by_offsets(tokenizer: Any, turns: list[Any], spans: list[str], **more: Any) -> list[int]:
    """An oracle by characters: the conversation is rendered once and tokenised as one text; a token
    is trained where it lies within one of `spans`, the replies as they stand in that text."""
    text = tokenizer.apply_chat_template(turns, tokenize=False, **more)
    made = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    ranges, at = [], 0
    for span in spans:
        start = text.index(span, at)
        at = start + len(span)
        ranges.append((start, at))
    return [int(any(a <= b and c <= d for a, d in ranges)) for b, c in made["offset_mapping"]]


@pytest.fixture
def tokenizer(shop: Shop) -> Any:
    return shop.load().tokenizer


def said(tokenizer: Any, tokens: templates.Tokens) -> str:
    """The text of the trained tokens."""
    pairs = zip(tokens.ids, tokens.trained, strict=True)
    return str(tokenizer.decode([token for token, mine in pairs if mine]))


@pytest.mark.parametrize("template", [CHATML, UNMARKED])
def test_replies_and_their_ends_are_trained_and_nothing_else(tokenizer: Any, template: str) -> None:
    """Both replies with their end-of-turn token; no role line, no user word, no line end."""
    tokenizer.chat_template = template
    tokens = templates.conversation(tokenizer, TURNS, "row 1")
    assert said(tokenizer, tokens) == "the cat<|im_end|>the dog.<|im_end|>"


def test_masks_equal_the_templates_own_marks(tokenizer: Any) -> None:
    """Where a template marks replies ({% generation %}), prefix rendering finds the same tokens."""
    tokenizer.chat_template = CHATML
    tokens = templates.conversation(tokenizer, TURNS, "row 1")
    oracle = tokenizer.apply_chat_template(
        TURNS, return_dict=True, return_assistant_tokens_mask=True
    )
    assert tokens.ids == oracle["input_ids"]
    assert [int(mine) for mine in tokens.trained] == list(oracle["assistant_masks"])


@pytest.mark.parametrize(
    ("template", "end"), [(CHATML, "<|im_end|>"), (LLAMA3, "<|im_end|>"), (UNMARKED, "<|im_end|>")]
)
def test_masks_equal_the_oracle_by_characters(tokenizer: Any, template: str, end: str) -> None:
    """P24: prefix rendering gives exactly the tokens of the replies and their ends, for several
    templates, multi-turn and with a system prompt.

    Seen to fail when `until_end` marked the line end after a turn too, and when the context before
    the second reply was marked.
    """
    tokenizer.chat_template = template.replace("<|eot_id|>", end)
    tokens = templates.conversation(tokenizer, TURNS, "row 1")
    spans = [f"the cat{end}", f"the dog.{end}"]
    assert [int(mine) for mine in tokens.trained] == by_offsets(tokenizer, TURNS, spans)


def test_calls_of_tools_are_trained_and_what_tools_answer_is_not(tokenizer: Any) -> None:
    """P24 with tools: the call is the assistant's, the list of tools and the answer are not.

    Seen to fail when the tools were not passed to the template.
    """
    row = normalise(
        {"messages": CALLS, "tools": LOOK_UP},
        DataFormat(kind="chat", columns={"messages": "messages", "tools": "tools"}),
        "row 1",
    )
    assert row["messages"][1]["tool_calls"][0]["function"]["arguments"] == {"word": "sun"}
    tokenizer.chat_template = TOOLS
    written = rows.tokens_of(Speech(tokenizer, TOOLS), data.Example("chat", row, "row 1"))
    call = '<tool_call>{"name": "look_up", "arguments": {"word": "sun"}}</tool_call><|im_end|>'
    spans = [call, "it was red.<|im_end|>"]
    oracle = by_offsets(tokenizer, row["messages"], spans, tools=LOOK_UP)
    assert [int(mine) for mine in written.trained] == oracle
    assert "tools: " in tokenizer.decode(written.ids)


@pytest.mark.parametrize("left_out", ["tools", "tool_calls"])
def test_a_template_that_knows_no_tools_is_refused(tokenizer: Any, left_out: str) -> None:
    """Nothing is left out in silence: the row is named.

    Seen to fail when `need_tools` was not called: ChatML wrote an empty turn for the call.
    """
    tokenizer.chat_template = CHATML
    example = {"messages": TURNS, "tools": LOOK_UP}
    if left_out == "tool_calls":
        columns = DataFormat(kind="chat", columns={"messages": "messages"})
        example = normalise({"messages": CALLS}, columns, "row 1")
    with pytest.raises(UserError) as told:
        rows.tokens_of(Speech(tokenizer, CHATML), data.Example("chat", example, "a.jsonl:3"))
    assert told.value.diagnostic.code == "TL401"
    assert f"a.jsonl:3: the row has {left_out}" in told.value.diagnostic.message


def test_the_last_reply_alone_is_trained_where_asked(tokenizer: Any) -> None:
    """`loss_on = last`: the second reply and its end; `assistant`: both.

    Seen to fail when earlier marks were kept.
    """
    tokenizer.chat_template = UNMARKED
    example = data.Example("chat", {"messages": TURNS}, "row 1")
    found = {}
    for loss_on in ("last", "assistant"):
        (row,) = rows.Writer(Speech(tokenizer, UNMARKED), 200, loss_on)(example)
        found[loss_on] = tokenizer.decode([label for label in row.labels if label != IGNORED])
    assert found == {
        "last": "the dog.<|im_end|>",
        "assistant": "the cat<|im_end|>the dog.<|im_end|>",
    }


def test_rows_that_begin_twice_are_stopped(shop: Shop) -> None:
    """L06: data that brings its own <s> beside the template's is told before anything trains.

    Seen to fail when the self-check looked for three of them.
    """
    double = "{{ bos_token }}{{ bos_token }}" + CHATML
    turns = part("chat", [{"messages": TURNS} for _ in range(12)], hold_out=None)
    step = training("instruction_tuning", "twice", turns, length=300, fields={"template": double})
    with pytest.raises(UserError) as told:
        shop.run(step)
    assert "one-bos" in told.value.diagnostic.message


def test_tokens_are_those_of_the_whole_conversation(tokenizer: Any) -> None:
    """Written piece by piece, a conversation has the tokens it has as one text."""
    tokenizer.chat_template = UNMARKED
    whole = templates.encode(tokenizer, templates.render(tokenizer, TURNS, reply_next=False))
    assert templates.conversation(tokenizer, TURNS, "row 1").ids == whole


def test_a_prompt_is_the_beginning_of_its_row(tokenizer: Any) -> None:
    """What generation is given equals what training put before the reply, token by token."""
    tokenizer.chat_template = UNMARKED
    prompt = templates.prompt(tokenizer, TURNS[:2], "row 1")
    row = templates.conversation(tokenizer, TURNS[:3], "row 1")
    assert row.ids[: len(prompt)] == prompt
    assert row.trained[len(prompt)] and not any(row.trained[: len(prompt)])


def test_a_template_that_rewrites_is_refused_where_it_matters(tokenizer: Any) -> None:
    """Two replies cannot be marked and the row is named; one reply can."""
    tokenizer.chat_template = REWRITING
    with pytest.raises(UserError) as told:
        templates.conversation(tokenizer, TURNS, "chats.jsonl:7")
    assert told.value.diagnostic.code == "TL414"
    assert "chats.jsonl:7" in told.value.diagnostic.message
    one = templates.conversation(tokenizer, TURNS[:3], "row")
    assert said(tokenizer, one) == "the cat<|im_end|>"


def test_one_bos(tokenizer: Any) -> None:
    """P25: a template that writes BOS and a tokenizer that adds one make one, in chats and text.

    Seen to fail when `encode` let the tokenizer add its special tokens: six.
    """
    from tokenizers.processors import TemplateProcessing

    tokenizer._tokenizer.post_processor = TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 1)]
    )
    tokenizer.chat_template = LLAMA3
    bos = tokenizer.bos_token_id
    assert templates.conversation(tokenizer, TURNS, "row").ids.count(bos) == 1
    plain = Speech(tokenizer, None)
    assert speech.text(plain, "the cat").ids.count(bos) == 1
    assert speech.reply(plain, "say", " cat", "row").ids.count(bos) == 1


def test_end_of_text_is_trained_even_where_padding_is_the_same_token(tokenizer: Any) -> None:
    """P25: pad == eos masks nothing: labels are made before padding, by length.

    Seen to fail when labels equal to the padding token were ignored, as a common collator does.
    """
    tokenizer.pad_token = tokenizer.eos_token
    row = rows.Writer(Speech(tokenizer, None), 64, "reply")(
        data.Example("instruct", {"prompt": "say cat", "reply": " cat"}, "row")
    )[0]
    assert row.labels[-1] == tokenizer.eos_token_id
    assert row.labels[: len(templates.encode(tokenizer, "say cat"))] == [IGNORED] * len(
        templates.encode(tokenizer, "say cat")
    )


def test_plain_text_is_all_trained(tokenizer: Any) -> None:
    """Every token of a text and its end; labels are the ids."""
    row = rows.Writer(Speech(tokenizer, None), 64, "all")(
        data.Example("text", {"text": "the cat"}, "row")
    )[0]
    assert row.labels == row.ids
    assert row.ids[-1] == tokenizer.eos_token_id


def test_a_model_without_template_gets_chatml_aloud(shop: Shop, tokenizer: Any) -> None:
    """The fallback is said, and the template's end token is what ends a turn."""
    events: list[dict[str, Any]] = []
    tokenizer.chat_template = None
    job = Job(shop.home, shop.home, shop.store, events.append)
    assert templates.choose(tokenizer, None, job) == CHATML
    assert "chatml" in events[0]["text"]
    assert templates.end_of_turn(tokenizer) == {tokenizer.convert_tokens_to_ids("<|im_end|>")}


def test_a_missing_end_token_becomes_eos_aloud(shop: Shop, tokenizer: Any) -> None:
    """llama3 on a vocabulary without <|eot_id|> ends turns with EOS, and says so."""
    events: list[dict[str, Any]] = []
    job = Job(shop.home, shop.home, shop.store, events.append)
    templates.choose(tokenizer, "llama3", job)
    assert "<|eot_id|>" in events[0]["text"]
    tokens = templates.conversation(tokenizer, TURNS, "row")
    assert said(tokenizer, tokens).endswith(tokenizer.eos_token)
