"""Texts as unit vectors: the mean of a model's last hidden states.

KATE (Liu et al. 2021, arXiv 2101.06804) compares embeddings of sentence encoders, BERT and its
kin; any language model gives some, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from tunelang.sources import encoders
from tunelang.train import classifier, forward, templates
from tunelang.train.evaluate import Lens
from tunelang.train.scoring import groups


@dataclass(frozen=True)
class Encoder:
    """What makes embeddings; texts are cut to `length` tokens."""

    model: Any
    tokenizer: Any
    lens: Lens
    length: int

    @property
    def two_sided(self) -> bool:
        """Is it an encoder, which reads texts between its own marks and from both sides?"""
        return bool(encoders.problem(self.model.config.to_dict()))

    @property
    def positions(self) -> int:
        """The longest text that an encoder reads, as its tokenizer says; else by its positions,
        of which RoBERTa's kin leave out two."""
        said = int(self.tokenizer.model_max_length)
        most = int(self.model.config.max_position_embeddings)
        return said if said <= most else most - 2


def embed(encoder: Encoder, texts: Sequence[str]) -> Tensor:
    """Unit vectors [N, H] in fp32 of texts.

    Equal texts are computed once, so that they are alike to the bit and ties are ties.
    """
    unique = list(dict.fromkeys(texts))
    ids = [tokens_of(encoder, text) for text in unique]
    found = (means if encoder.two_sided else states)(encoder, ids)
    unit = torch.nn.functional.normalize(found, dim=-1)
    at = {text: place for place, text in enumerate(unique)}
    return unit[[at[text] for text in texts]]


def states(encoder: Encoder, ids: Sequence[list[int]]) -> Tensor:
    """Mean states [N, H] of a language model."""
    return classifier.features_of(encoder.model, ids, "mean", encoder.lens)


@torch.no_grad()
def means(encoder: Encoder, ids: Sequence[list[int]]) -> Tensor:
    """Mean states [N, H] in fp32 of an encoder, in small batches, in the order given."""
    order = sorted(range(len(ids)), key=lambda at: len(ids[at]))
    made = [mean(encoder, [ids[at] for at in group]) for group in groups(order, ids)]
    return torch.cat(made)[torch.tensor(order, device=encoder.lens.device).argsort()]


def mean(encoder: Encoder, ids: Sequence[list[int]]) -> Tensor:
    """Mean states [B, H] in fp32 of rows, which are padded on the right and masked there."""
    lens, longest = encoder.lens, max(map(len, ids))
    padded = [row + [lens.pad] * (longest - len(row)) for row in ids]
    lengths = torch.tensor([len(row) for row in ids], device=lens.device)
    inside = torch.arange(longest, device=lens.device) < lengths[:, None]
    with forward.autocast(lens.precision, lens.device):
        hidden = forward.states_of_both_sides(
            encoder.model, torch.tensor(padded, device=lens.device), inside
        )
    return classifier.pool(hidden, lengths, "mean")


def tokens_of(encoder: Encoder, text: str) -> list[int]:
    """A text as plain tokens, cut to the length; one that is empty is its end token.

    For an encoder it stands between the marks that it was trained with.
    """
    if encoder.two_sided:
        cut = {"truncation": True, "max_length": encoder.length}
        found: list[int] = encoder.tokenizer(text, **cut)["input_ids"]
        return found
    ids = templates.encode(encoder.tokenizer, text)[: encoder.length]
    return ids or [int(encoder.tokenizer.eos_token_id)]
