"""What the loss needs beside the layers: logits, at once or in pieces, and the head's gradient."""

from __future__ import annotations

from dataclasses import dataclass

from tunelang.estimate.load import Load


@dataclass(frozen=True)
class Logits:
    """Bytes at the worst moment of the loss's forward and backward, and while the head's gradient
    is made; `kept` are hidden states that wait for backward, `held` logits that the caller keeps.

    `pieces` more than one are computed again one by one.
    """

    forward: float
    backward: float
    head: float
    kept: float
    held: float
    pieces: int


def logits(load: Load, family: str = "tokens") -> Logits:
    """The loss of one micro-batch; nothing where no logits are computed."""
    positions = load.scored * load.tokens
    if not positions:
        return Logits(0.0, 0.0, 0.0, 0.0, 0.0, 0)
    a = load.architecture
    whole = a.softcap or a.scaled_logits  # the model's own forward makes them, all at once
    if load.loss == "fused" and not whole:
        return _fused(load, positions)
    at_once = whole or load.loss == "plain" or family == "policy"
    piece = float(positions) if at_once else piece_of(load, positions)
    count = -(-positions // piece)
    words = a.vocab * min(piece, positions)
    if whole:
        words = float(a.vocab * load.tokens)
    capped = (2 if load.width == 2 else 4) * words if a.softcap else 0.0
    forward, backward = _each(load, family, count > 1)
    narrow = 2 if load.width == 2 else 0  # bf16 logits beside their fp32 copy
    return Logits(
        (forward - 2 + narrow) * words + capped,
        backward * words + capped,
        load.width * words,
        _kept(load, positions, count),
        _held(load, family) * words,
        int(count),
    )


def _each(load: Load, family: str, pieces: bool) -> tuple[float, float]:
    """Bytes a logit in forward and in backward."""
    stack = load.stack
    if family == "policy":
        return stack.reply_forward, stack.reply_backward
    if family == "comparisons":
        return stack.logit_forward, stack.compared
    return stack.logit_forward, stack.logit_piece if pieces else stack.logit_backward


def _held(load: Load, family: str) -> float:
    """Bytes a logit that stay until backward has ended: a policy's figures are taken of them."""
    if family == "policy":
        return 4.0
    return load.stack.logit_kept if load.keeps_logits else 0.0


def piece_of(load: Load, positions: float) -> float:
    """Positions whose logits are computed at once."""
    stack = load.stack
    if stack.piece_logits:
        return float(max(1, stack.piece_logits // load.architecture.vocab))
    if stack.piece_tokens:
        return float(stack.piece_tokens)
    return -(-positions // stack.piece_count) if stack.piece_count else positions


def _kept(load: Load, positions: float, pieces: float) -> float:
    """Hidden states that predict: what pieces are computed from, or what a trained head reads."""
    hidden = load.architecture.hidden * positions
    if pieces > 1:
        return load.wide * hidden
    return load.width * hidden if load.weights in ("full", "head") else 0.0


def _fused(load: Load, positions: float) -> Logits:
    """Liger's fused linear cross-entropy (arXiv 2410.10989, section 3): pieces of about as many
    logits as there are hidden elements; gradients are made in forward."""
    a = load.architecture
    share = -(-a.vocab // a.hidden)
    rows = 1 << max(0, int(-(-positions // share)) - 1).bit_length()
    made = load.stack.fused_logit * a.vocab * min(rows, positions) + 2.0 * a.hidden * positions
    head = 2.0 * a.vocab * a.hidden if load.weights in ("full", "head") else 0.0
    return Logits(made + head, made + head, 0.0, 0.0, 0.0, 1)
