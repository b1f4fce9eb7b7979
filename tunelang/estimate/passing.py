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
    rest = made - min(cache, made) + _copies(load)
    return {"cache": min(cache, made), "activations": rest, "buffers": whole}


def scoring_bytes(load: Load, scored: float) -> dict[str, float]:
    """One micro-batch through a model whose replies are scored."""
    a, stack = load.architecture, load.stack
    narrow = 2 if load.width == 2 else 0
    words = scored * load.tokens * a.vocab * (stack.reply_forward - 2 + narrow)
    state = scored * load.wide * a.hidden * load.tokens
    made = max(words + state, passing(load, load.tokens))
    logits = words if words + state >= made else 0.0
    return {"logits": logits, "activations": made - logits + _copies(load)}


def cache_bytes(load: Load, tokens: int) -> float:
    """Keys after rotation, which are as wide as hidden states, and values."""
    a = load.architecture
    return float(a.layers * a.kv * (load.wide + load.width) * tokens)


def passing(load: Load, tokens: int) -> float:
    """What is there at once while tokens pass a feed-forward: input twice, gate, up, product."""
    a = load.architecture
    return float(tokens) * (2 * load.wide * a.hidden + 3 * load.width * a.inner)


def _copies(load: Load) -> float:
    """bf16 copies of fp32 weights, which autocast keeps until it ends."""
    if not load.casts:
        return 0.0
    a = load.architecture
    return 2.0 * (linear_count(a) + a.vocab * a.hidden)
