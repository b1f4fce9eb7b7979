"""Tokens that a stage adds, and its end and padding marks: tokenizer and model grown together.

A new token starts as the average of the pieces it was written with before (Gee et al. 2022, arXiv
2402.09977, "fast vocabulary transfer"), in the embedding and in the head; so nothing is random and
the logits of the old tokens stay as they are. Tied weights stay tied.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from tunelang.plan.ir import Step, Weights
from tunelang.train.job import Job, fail
from tunelang.train.model import Loaded
from tunelang.train.templates import encode
from tunelang.train.token_rows import grow, layers, paths
from tunelang.train.trainable import ADAPTERS

# How an adapter's targets name them, whatever the architecture does (`rules/vocabulary.py`).
NAMES = ("embed_tokens", "lm_head")


@dataclass(frozen=True)
class Grown:
    """A start with the stage's vocabulary, and the ids [N] of the tokens that are new in it."""

    start: Loaded
    added: tuple[int, ...]


def prepare(step: Step, start: Loaded, job: Job) -> Grown:
    """Add `new_tokens` and set `pad` and `eos`, as far as the step names any."""
    added = extend(start, step.fields.get("new_tokens") or (), job)
    marks(start, step.fields.get("pad"), step.fields.get("eos"), job)
    return Grown(start, added)


def extend(start: Loaded, words: Sequence[str], job: Job) -> tuple[int, ...]:
    """Give tokenizer and model a token for each word; the ids of those that were not there."""
    tokenizer = start.tokenizer
    known = [word for word in words if word in tokenizer.get_vocab()]
    fresh = [word for word in dict.fromkeys(words) if word not in known]
    if known:
        job.note(f"the model has {', '.join(known)} already: nothing is added for them")
    if not fresh:
        return ()
    if start.origin.quant:
        fail(
            "TL417",
            "resize-quantised",
            "the model is held in few bits, and its vocabulary cannot grow",
            "add the tokens in an earlier stage with weights = full",
        )
    pieces = [encode(tokenizer, word) for word in fresh]
    tokenizer.add_tokens(fresh)
    ids = tuple(tokenizer.convert_tokens_to_ids(fresh))
    held = grow(start.model, max(ids) + 1)
    for layer in layers(start.model):
        with torch.no_grad():
            for token, parts in zip(ids, pieces, strict=True):
                layer.weight[token] = layer.weight[parts].mean(0)
    job.note(
        f"{len(ids)} tokens are added ({', '.join(fresh)}), each the average of its old pieces; "
        f"the embedding has {held} rows"
    )
    return ids


def marks(start: Loaded, pad: str | None, eos: str | None, job: Job) -> None:
    """Set the padding and end tokens. TL410 for one that the vocabulary lacks."""
    tokenizer, config = start.tokenizer, start.model.config
    for token in filter(None, (pad, eos)):
        if token not in tokenizer.get_vocab():
            fail("TL410", "token-not-in-vocabulary", f"the model has no token {token}")
    if pad:
        tokenizer.pad_token = pad
        config.pad_token_id = tokenizer.pad_token_id
    if eos and eos != tokenizer.eos_token:
        job.note(f"replies end with {eos}; the model's own end token is {tokenizer.eos_token}")
        tokenizer.eos_token = eos
        config.eos_token_id = tokenizer.eos_token_id
        start.model.generation_config.eos_token_id = tokenizer.eos_token_id


def trained(weights: Weights, grown: Grown) -> Weights:
    """An adapter's settings: the new rows train in full, the rest of embedding and head stays.

    `targets` names both (TL407 asks for it); low-rank updates of every old row are not meant.
    """
    if not grown.added or weights.kind == "full":
        return weights
    if weights.kind not in ADAPTERS:
        fail(
            "TL407",
            "new-tokens-frozen",
            f"weights = {weights.kind} trains no row of the embedding, and tokens are added",
            "train every weight with full, or add the tokens in an earlier stage",
        )
    targets = weights.fields["targets"]
    kept = targets if isinstance(targets, str) else [t for t in targets if t not in NAMES]
    rows = {path: list(grown.added) for path in paths(grown.start.model)}
    return replace_fields(weights, {"targets": kept, "new_rows": rows})


def replace_fields(weights: Weights, fields: Mapping[str, Any]) -> Weights:
    """The same kind of weights with some fields changed."""
    return weights.model_copy(update={"fields": {**weights.fields, **fields}})
