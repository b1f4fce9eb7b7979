"""Masks cover exactly what the assistant says, up to the token that ends its turn."""

from __future__ import annotations

from typing import Any

import pytest
from workshop import Shop

from tunelang.errors import UserError
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
    """A template that writes BOS and a tokenizer that adds one make one, in chats and in text."""
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
    """pad == eos masks nothing: labels are made before padding, by length."""
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
