"""Token batches through a model: hidden states, and logits only where they are needed.

Right-padded rows need no attention mask (nothing real comes after the padding), which keeps the
fast causal kernel; packed rows are told apart by position ids. The cache is off throughout:
with it, packed rows would see each other in silence (0.02 nats, measured).
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from tunelang.train.losses import IGNORED, cross_entropy_sum

LOGITS = 1 << 26  # held at once while training: 256 MB in fp32


@dataclass(frozen=True)
class Row:
    """A token sequence: `ids` [T], `labels` [T] (IGNORED where no loss), `positions` if packed.

    `weights` [T] say how much the loss of each token counts; None: all alike.
    """

    ids: list[int]
    labels: list[int]
    positions: list[int] | None = None
    weights: list[float] | None = None

    @classmethod
    def continued(cls, before: Sequence[int], after: Sequence[int]) -> Row:
        """A prompt and one way to go on, of which only the latter has labels."""
        return cls([*before, *after], [IGNORED] * len(before) + [*after])

    @property
    def supervised(self) -> int:
        """How many tokens get loss; the first one has nothing before it to predict it from."""
        return sum(label != IGNORED for label in self.labels[1:])

    @property
    def mass(self) -> float:
        """What the row's summed loss is over: its supervised tokens, each by its weight."""
        if self.weights is None:
            return self.supervised
        pairs = zip(self.labels[1:], self.weights[1:], strict=True)
        return sum(weight for label, weight in pairs if label != IGNORED)


@dataclass(frozen=True)
class Batch:
    """Rows as tensors [B, T], padded on the right."""

    ids: Tensor
    labels: Tensor
    positions: Tensor | None
    weights: Tensor | None = None


def collate(rows: Sequence[Row], pad: int, device: str) -> Batch:
    """Pad rows to the longest; padding is a document of its own in packed rows."""
    longest = max(len(row.ids) for row in rows)
    ids = [row.ids + [pad] * (longest - len(row.ids)) for row in rows]
    labels = [row.labels + [IGNORED] * (longest - len(row.labels)) for row in rows]
    positions = None
    if any(row.positions is not None for row in rows):
        positions = torch.tensor([padded_positions(row, longest) for row in rows], device=device)
    weights = None
    if any(row.weights is not None for row in rows):
        weights = torch.tensor([padded_weights(row, longest) for row in rows], device=device)
    return Batch(
        torch.tensor(ids, device=device), torch.tensor(labels, device=device), positions, weights
    )


def padded_positions(row: Row, longest: int) -> list[int]:
    """Position ids of a row; they start again at 0 in its padding."""
    own = row.positions if row.positions is not None else list(range(len(row.ids)))
    return own + list(range(longest - len(own)))


def padded_weights(row: Row, longest: int) -> list[float]:
    """Weights of a row's tokens, 1 where it has none of its own; padding has no loss at all."""
    own = row.weights if row.weights is not None else [1.0] * len(row.ids)
    return own + [0.0] * (longest - len(own))


def causal(model: Any) -> Any:
    """The model under PEFT's wrapper; its adapters stay in force, they are inside its layers."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def hidden_states(model: Any, ids: Tensor, positions: Tensor | None = None) -> Tensor:
    """The last hidden states [B, T, H] of right-padded (or packed) ids [B, T]."""
    decoder = causal(model).get_decoder()
    hidden: Tensor = decoder(
        input_ids=ids, position_ids=positions, use_cache=False
    ).last_hidden_state
    return hidden


def states_of_both_sides(model: Any, ids: Tensor, inside: Tensor) -> Tensor:
    """An encoder's last hidden states [B, T, H]; `inside` [B, T] is true on real tokens.

    Unlike a decoder's, its real tokens would see the padding after them.
    """
    hidden: Tensor = model(input_ids=ids, attention_mask=inside.long()).last_hidden_state
    return hidden


def supervised_logits(model: Any, batch: Batch) -> tuple[Tensor, Tensor]:
    """Logits [N, V] and targets [N] of the N tokens that get loss.

    The output layer runs on those positions only: with 49,000 words in the vocabulary it is
    the dearest layer, and a prompt needs none of it.
    """
    if not has_plain_head(model):
        keep = batch.labels[:, 1:] != IGNORED
        inner = causal(model)
        whole = inner(input_ids=batch.ids, position_ids=batch.positions, use_cache=False).logits
        return whole[:, :-1][keep], batch.labels[:, 1:][keep]
    hidden, targets = supervised_states(model, batch)
    return causal(model).get_output_embeddings()(hidden), targets


def supervised_states(model: Any, batch: Batch) -> tuple[Tensor, Tensor]:
    """Hidden states [N, H] that predict the N targets [N] that get loss."""
    keep = batch.labels[:, 1:] != IGNORED
    hidden = hidden_states(model, batch.ids, batch.positions)
    return hidden[:, :-1][keep], batch.labels[:, 1:][keep]


def loss_sum(model: Any, batch: Batch, *, at_once: bool = False) -> Tensor:
    """Summed cross-entropy of a batch, by its weights; logits of many positions come in pieces.

    Each piece is computed again in the backward pass, so that memory holds the logits of one
    piece and not of all: 8 x 1024 tokens of a vocabulary of 49,000 would be 3 GB. `at_once`
    computes all of them, once: where there is room for them that is faster.
    """
    weights = supervised_weights(batch)
    if not has_plain_head(model):
        return cross_entropy_sum(*supervised_logits(model, batch), weights)
    hidden, targets = supervised_states(model, batch)
    head = causal(model).get_output_embeddings()
    size = most_positions(model)
    if at_once or len(targets) <= size:
        return cross_entropy_sum(head(hidden), targets, weights)

    def piece(states: Tensor, wanted: Tensor, counts: Tensor | None) -> Tensor:
        return cross_entropy_sum(head(states), wanted, counts)

    split = [*torch.split(hidden, size)], [*torch.split(targets, size)]
    counts = [None] * len(split[0]) if weights is None else [*torch.split(weights, size)]
    losses = [
        checkpoint(piece, *one, use_reentrant=False) for one in zip(*split, counts, strict=True)
    ]
    return torch.stack(losses).sum()


def most_positions(model: Any) -> int:
    """How many positions' logits are held at once. By the config: a weight that is sharded has no
    rows of its own."""
    return max(1, LOGITS // int(causal(model).config.get_text_config().vocab_size))


def supervised_weights(batch: Batch) -> Tensor | None:
    """Weights [N] of the N targets that get loss, None where all count alike."""
    if batch.weights is None:
        return None
    return batch.weights[:, 1:][batch.labels[:, 1:] != IGNORED]


def has_plain_head(model: Any) -> bool:
    """Are logits just output layer times hidden state? Some families scale or cap them.

    Found out once per model on two tokens, and remembered on it.
    """
    inner = causal(model)
    known: bool | None = getattr(inner, "_tunelang_plain_head", None)
    if known is None:
        device = inner.get_output_embeddings().weight.device
        ids = torch.tensor([[1, 2]], device=device)
        training = inner.training
        inner.eval()  # dropout would draw random numbers, and a resumed run would draw others
        with torch.no_grad():
            whole = inner(input_ids=ids, use_cache=False).logits
            ours = inner.get_output_embeddings()(hidden_states(inner, ids))
        inner.train(training)
        known = bool(torch.allclose(whole.float(), ours.float(), atol=1e-3, rtol=1e-3))
        inner._tunelang_plain_head = known
    return known


def autocast(precision: str, device: str) -> AbstractContextManager[Any]:
    """bf16 computation over whatever the weights are held in; nothing for fp32."""
    return torch.autocast(device, dtype=torch.bfloat16, enabled=precision == "bf16")
