"""Time of writing replies: a token of every row at once, for which all weights are read."""

from __future__ import annotations

from tunelang.estimate.flops import forward
from tunelang.estimate.layout import Layout
from tunelang.estimate.parameters import Architecture
from tunelang.estimate.rates import Rates
from tunelang.estimate.work import Work

AT_ONCE = (
    64  # rows that a worker samples at once: the cache of more would not fit beside a small model
)
DECODE = 0.6  # share of the memory bandwidth that decoding one token after another reaches
# Host seconds a layer and token: transformers' generate writes 30 to 40 tokens/s with a model of 32
# layers on GPUs that could read its weights four times as often.
LAYER = 0.8e-3


def sampling_seconds(work: Work, layout: Layout, reached: Rates) -> float:
    """What a device's share of an iteration takes to write; 0 where nothing is sampled."""
    if not work.reply:
        return 0.0
    rows = layout.micro * layout.accumulate
    prompts = forward(work.architecture, float(rows * work.prompt), work.prompt, 0.0)
    read = prompts.products / reached.products + prompts.attention / reached.attention
    groups = -(-rows // AT_ONCE)
    weights = float(work.width * work.parameters)
    token = token_seconds(
        work.architecture, weights, min(rows, AT_ONCE), work.prompt + work.reply / 2, reached
    )
    return read + groups * work.reply * token


def token_seconds(a: Architecture, weights: float, rows: int, seen: float, reached: Rates) -> float:
    """One token of each of `rows` that see so many others: weights and cache are read once."""
    cache = 2.0 * a.layers * a.kv * 2 * rows * seen
    host = a.layers * (LAYER if reached.parallel else 0.0)
    return max((weights + cache) / (reached.memory * DECODE), host)
