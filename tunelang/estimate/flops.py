"""Operations of a micro-batch: products of matrices and attention, which devices do at other rates.

A multiplication and an addition are two operations. Attention is causal: a position sees half of
the sequence on average, fewer behind a window.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from tunelang.estimate.layout import Layout
from tunelang.estimate.parameters import Architecture, active_count, embedding_count, expert_count
from tunelang.estimate.work import Work

# Backward of fused attention over forward: five products for two (arXiv 2307.08691, section 3.1).
ATTENTION_BACKWARD = 2.5


@dataclass(frozen=True)
class Operations:
    """FLOP of matrix products and of attention."""

    products: float
    attention: float

    @property
    def all(self) -> float:
        return self.products + self.attention

    def times(self, number: float) -> Operations:
        return Operations(self.products * number, self.attention * number)

    def __add__(self, other: Operations) -> Operations:
        return Operations(self.products + other.products, self.attention + other.attention)


@lru_cache(maxsize=256)
def matrices(a: Architecture) -> tuple[int, int]:
    """Parameters that a token is multiplied with: in blocks, and in the output layer."""
    return active_count(a) - embedding_count(a), a.vocab * a.hidden


@lru_cache(maxsize=1024)
def seen(a: Architecture, length: float) -> float:
    """Positions that one position attends to, added up over all layers."""
    windowed = a.windowed if 0 < a.window < length else 0
    inside = a.window - a.window**2 / (2 * length) if windowed else 0.0
    return (a.layers - windowed) * length / 2 + windowed * inside


def forward(a: Architecture, tokens: float, length: float, scored: float = 1.0) -> Operations:
    """One pass over `tokens` in sequences of `length`; `scored` of them meet the output layer."""
    blocks, head = matrices(a)
    return Operations(
        products=2.0 * tokens * (blocks + scored * head),
        attention=4.0 * tokens * a.query * seen(a, length),
    )


def training(work: Work, layout: Layout, tokens: float, length: float) -> Operations:
    """Forward and backward over `tokens`: gradients of inputs and weights, and recomputation."""
    a = work.architecture
    blocks, head = matrices(a)
    back = reach(work)
    again = 1 + back * layout.checkpointing  # forward passes through the blocks
    pieces = 1 + (layout.loss == "chunked")  # a chunked loss computes each piece's logits twice
    products = blocks * (again + back) + scores(work) * head * (pieces + 1) + learned(work, again)
    attention = 4.0 * a.query * seen(a, length) * (again + back * ATTENTION_BACKWARD)
    return Operations(2.0 * tokens * products, tokens * attention)


def reach(work: Work) -> float:
    """The share of the blocks that gradients pass: down to the lowest one that trains."""
    if work.written == "head":
        return 0.0
    if work.written == "layers" and work.last:
        return min(1.0, work.last / work.architecture.layers)
    return 1.0


def learned(work: Work, again: float) -> float:
    """Parameters a token is multiplied with for gradients of weights, adapters' own passes too."""
    a = work.architecture
    blocks, head = matrices(a)
    if work.written == "full":
        return blocks + scores(work) * head
    if work.written == "experts" and a.experts:
        return work.share * a.experts.layers * a.experts.active * expert_count(a)
    if work.written in ("lora", "qlora"):
        return work.trained * (again + 2)
    return float(min(work.trained, blocks + head))


def scores(work: Work) -> float:
    """The share of positions whose logits are computed."""
    if work.method == "reward_modeling":
        return 0.0
    return work.reply / work.positions if work.reply else 1.0


def length(work: Work) -> int:
    """Tokens of a sequence that is computed."""
    return work.prompt + work.reply if work.reply else work.mean_length


def passes(work: Work) -> tuple[int, int]:
    """How often an update trains on its rows, and how often some model only reads them.

    A policy's update is an iteration: it and its value model train in each epoch; they and what is
    frozen score the samples once.
    """
    if work.reply:
        return work.epochs * (1 + work.critic), 1 + work.critic + work.frozen
    return 1, int(work.reference in ("adapter_off", "own"))


def updates(work: Work) -> int:
    """Optimizer steps of what is called an update here, of one model."""
    return work.epochs * work.minibatches if work.reply else 1
