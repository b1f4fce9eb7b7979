"""Bytes that a pass without gradients makes: sampling over a cache of keys and values, scoring."""

from __future__ import annotations

from tunelang.estimate.load import Load
from tunelang.estimate.sizes import count, linear_count


def generation_bytes(load: Load, prompt: int, reply: int, sampled: int) -> dict[str, float]:
    """`sampled` replies at once: a full cache, or prompts passing through a layer."""
    a = load.architecture
    cache = cache_bytes(load, sampled * (prompt + reply))
    read = cache_bytes(load, sampled * prompt) + passing(load, sampled * prompt)
    # The last layer's cache is copied to grow by one token (transformers/cache_utils.py).
    drawn = cache + cache / a.layers / 2 + 12.0 * sampled * a.vocab
    made = max(drawn, read)
    # All weights of the policy are whole while it samples (train/engines, `whole`).
    whole = (load.width if load.gathers else load.rest) * count(a) if load.sharded else 0.0
    rest = made - min(cache, made) + sum(_copies(load))
    return {"cache": min(cache, made), "activations": rest, "buffers": whole}


def scoring_bytes(load: Load, scored: float) -> dict[str, float]:
    """One micro-batch through a model whose replies are scored: layers, and then the head."""
    a, stack = load.architecture, load.stack
    narrow = 2 if load.width == 2 else 0
    words = scored * load.tokens * a.vocab * (stack.reply_forward - 2 + narrow)
    layers, top = _copies(load)
    above = words + scored * load.wide * a.hidden * load.tokens + top
    below = passing(load, load.tokens) + layers
    logits = words if above >= below else 0.0
    return {"logits": logits, "activations": max(above, below) - logits}


def cache_bytes(load: Load, tokens: int) -> float:
    """Keys and values: both as wide as keys after rotation, which are as hidden states are."""
    a = load.architecture
    return float(2 * a.layers * a.kv * load.wide * tokens)


def passing(load: Load, tokens: int) -> float:
    """What is there at once while tokens pass a feed-forward: gate, its activation, up and their
    product; four of hidden states, and the norm's in fp32."""
    a = load.architecture
    states = 4 * load.wide + (4 if load.wide == 2 else 0)
    return float(tokens) * (states * a.hidden + 4 * load.width * a.inner)


def _copies(load: Load) -> tuple[float, float]:
    """bf16 copies of fp32 weights, which autocast keeps until it ends: of layers, of the head."""
    if not load.casts:
        return 0.0, 0.0
    a = load.architecture
    return 2.0 * linear_count(a), 2.0 * a.vocab * a.hidden
