"""Texts as unit vectors: the mean of a language model's last hidden states.

KATE (Liu et al. 2021, arXiv 2101.06804) compares sentence embeddings; any language model gives some.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from tunelang.train import classifier, templates
from tunelang.train.evaluate import Lens


@dataclass(frozen=True)
class Encoder:
    """What makes embeddings; texts are cut to `length` tokens."""

    model: Any
    tokenizer: Any
    lens: Lens
    length: int


def embed(encoder: Encoder, texts: Sequence[str]) -> Tensor:
    """Unit vectors [N, H] in fp32 of texts.

    Equal texts are computed once, so that they are alike to the bit and ties are ties.
    """
    unique = list(dict.fromkeys(texts))
    ids = [tokens_of(encoder, text) for text in unique]
    found = classifier.features_of(encoder.model, ids, "mean", encoder.lens)
    unit = torch.nn.functional.normalize(found, dim=-1)
    at = {text: place for place, text in enumerate(unique)}
    return unit[[at[text] for text in texts]]


def tokens_of(encoder: Encoder, text: str) -> list[int]:
    """A text as plain tokens, cut to the length; one that is empty is its end token."""
    ids = templates.encode(encoder.tokenizer, text)[: encoder.length]
    return ids or [int(encoder.tokenizer.eos_token_id)]
