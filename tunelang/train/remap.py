"""Another tokenizer for the same body: embeddings go over by the text of their tokens.

A token that both know keeps its row of the embedding matrix, and of the output layer; one that
is new begins as the mean of all old rows, which bounds what it takes away from the others (Hewitt
2021, "Initializing New Word Embeddings for Pretrained Language Models"). Tied matrices stay tied.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from tunelang.train.job import Job, fail
from tunelang.train.model import Loaded

BYTE = re.compile(r"<0x([0-9A-F]{2})>")  # a byte that SentencePiece has no token for
ROLES = ("bos_token", "eos_token", "pad_token", "unk_token")
SPACE = "▁"  # how SentencePiece writes one


def remap(loaded: Loaded, tokenizer: Any, job: Job) -> Loaded:
    """The model with another tokenizer; TL417 where its embeddings rest in 4 bits."""
    if loaded.origin.quant:
        message = "the vocabulary of a model that is held in 4 bits cannot change"
        fail("TL417", "resize-quantised", message, "start from a model in full precision")
    source = matches(loaded.tokenizer, tokenizer)
    known = sum(each is not None for each in source)
    job.note(
        f"{known} of the {len(source)} tokens of the new vocabulary are known by their text and "
        f"keep their embedding; {len(source) - known} begin as the mean of all"
    )
    resize(loaded.model, source, len(loaded.tokenizer))
    for settings in (loaded.model.config, loaded.model.generation_config):
        for role in ("bos", "eos", "pad"):
            setattr(settings, f"{role}_token_id", getattr(tokenizer, f"{role}_token_id"))
    return replace(loaded, tokenizer=tokenizer)


def resize(model: Any, source: Sequence[int | None], old: int) -> None:
    """Embedding and output layer with a row for each of `source`: a row they had, or the mean
    of their first `old` (a matrix may be wider than its vocabulary)."""
    inner, outer = model.get_input_embeddings(), model.get_output_embeddings()
    tied = outer.weight is inner.weight
    rows = [taken(inner.weight, source, old)] + ([] if tied else [taken(outer.weight, source, old)])
    bias = getattr(outer, "bias", None)
    shifts = None if bias is None else taken(bias, source, old)
    model.resize_token_embeddings(len(source), mean_resizing=False)
    inner, outer = model.get_input_embeddings(), model.get_output_embeddings()
    for module, values in zip((inner, outer), rows, strict=False):
        module.weight.data.copy_(values)
    if shifts is not None:
        outer.bias.data.copy_(shifts)
    if tied and outer.weight is not inner.weight:
        msg = "embeddings that were tied have come apart"
        raise AssertionError(msg)


def taken(matrix: Tensor, source: Sequence[int | None], old: int) -> Tensor:
    """Rows of `matrix` [V, ...] by number, the mean of the first `old` rows where there is none."""
    held = matrix.detach()
    mean = held[:old].float().mean(0).to(held.dtype)
    numbers = torch.tensor([-1 if each is None else each for each in source], device=held.device)
    made: Tensor = held[numbers.clamp(min=0)].clone()
    made[numbers < 0] = mean
    return made


def matches(old: Any, new: Any) -> list[int | None]:
    """For every token of `new` by number: the token of `old` with the same text or role."""
    there = {text: number for number, text in enumerate(texts(old)) if text is not None}
    known = [there.get(text) if text is not None else None for text in texts(new)]
    for role in ROLES:
        mine, other = getattr(new, f"{role}_id"), getattr(old, f"{role}_id")
        if mine is not None and other is not None:
            known[mine] = other
    return known


def texts(tokenizer: Any) -> list[bytes | str | None]:
    """What every token stands for, by number: bytes of text, or the name of a special token.

    A token of one byte may have a text of its own besides: the text goes first.
    """
    spelt = byte_level(tokenizer)
    special = set(tokenizer.get_added_vocab())
    found: list[bytes | str | None] = [None] * (max(tokenizer.get_vocab().values()) + 1)
    for token, number in tokenizer.get_vocab().items():
        found[number] = token if token in special else meaning(token, spelt)
    seen: set[bytes | str] = {each for each in found if each is not None}
    for token, number in tokenizer.get_vocab().items():
        byte = BYTE.fullmatch(token)
        if byte and bytes.fromhex(byte[1]) not in seen:
            found[number] = bytes.fromhex(byte[1])
    return found


def meaning(token: str, spelt: dict[str, int] | None) -> bytes | None:
    """The bytes a token stands for; None for SentencePiece's single bytes, which come later."""
    if spelt is not None and spelt.keys() >= set(token):
        return bytes(spelt[letter] for letter in token)
    return None if BYTE.fullmatch(token) else token.replace(SPACE, " ").encode()


def byte_level(tokenizer: Any) -> dict[str, int] | None:
    """The byte of every letter in a byte-level vocabulary (GPT-2's), None for another kind."""
    described = json.loads(tokenizer.backend_tokenizer.to_str())
    if '"ByteLevel"' not in json.dumps([described["pre_tokenizer"], described["decoder"]]):
        return None
    plain = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in set(plain)]
    letters = {chr(byte): byte for byte in plain}
    return letters | {chr(256 + place): byte for place, byte in enumerate(others)}
