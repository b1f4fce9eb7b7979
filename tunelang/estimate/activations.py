"""Bytes that a micro-batch makes on its way forward and back, layer by layer.

Written out from the code of transformers 5.23 and peft 0.21, tensor by tensor, and measured by
tests/oracle; what other versions do differently is in `Load.stack`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

from tunelang.estimate import mixtures
from tunelang.estimate.form import Form, adapters, elements, norm
from tunelang.estimate.load import ADAPTERS, Load
from tunelang.estimate.parameters import linears

TENSORS = 6  # of the inner width at once where the product of gate and up is differentiated


@dataclass(frozen=True)
class Layer:
    """Bytes a token: what one layer saves for its backward, and what it makes for a while then.

    `turning` is made where a matrix of few bits is turned into bf16 for its gradient; `untouched`
    is what the first layer does not save, since nothing that trains stands before it.
    """

    saved: float
    work: float
    turning: float
    untouched: float


def activation_bytes(load: Load) -> float:
    """What one layer saves for its backward, without checkpointing."""
    return layer(Form.of(load)).saved * load.tokens


@lru_cache(maxsize=4096)
def layer(form: Form) -> Layer:
    """One usual layer, a token."""
    a = form.architecture
    trains = form.trains
    norms = a.norms * norm(form, trains=trains)
    saved = norms + _inputs(form) + _attention(form) + _feed_forward(form) + adapters(form)
    if a.experts:
        saved += mixtures.saved(form)
    turning = form.width * a.inner + form.wide * a.hidden
    beside = form.weights in (*ADAPTERS, "ia3")
    untouched = norm(form, trains=False) if beside else 0.0
    if form.weights == "experts":  # nothing needs a gradient before the first chosen experts
        untouched = saved - mixtures.chosen(form)
    return Layer(saved, _work(form), turning, untouched)


def dense(form: Form) -> Layer:
    """One of the first layers of a mixture, which have no routed experts."""
    if form.weights == "experts":
        return Layer(0.0, 0.0, 0.0, 0.0)
    return layer(replace(form, architecture=replace(form.architecture, experts=None)))


def _inputs(form: Form) -> float:
    """What linear layers keep of the hidden states that they read."""
    a = form.architecture
    inward = [size for size, _ in form.reading.values()]
    frozen = form.stack.linear_input * sum(inward)
    if not form.trains:
        return frozen
    if form.wide > form.width:  # each makes a bf16 copy of its own under autocast
        return float(form.width * sum(inward))
    return float(form.width * a.hidden * (1 if a.parallel and a.norms == 1 else 2))


def _attention(form: Form) -> float:
    """Queries, keys, values, what comes out, and a logsumexp a head; norms of queries and keys."""
    a = form.architecture
    if a.latent:
        return mixtures.latent(form)
    saved = form.width * (2 * a.query + 2 * a.kv) + 4.0 * a.heads
    if form.stack.kv_repeated:
        saved += 2 * form.width * (a.query - a.kv)
    saved += form.stack.attention_square * a.heads * form.length
    if a.attention_softcap:
        saved = _capped(form)
    if not (a.qk_norm or a.whole_norm):
        return saved
    figures = 2 if a.whole_norm else a.heads + a.kv_heads
    each = elements(form, form.width, trains=form.trains)
    return saved + each * (a.query + a.kv) + form.stack.norm_token * figures


def _capped(form: Form) -> float:
    """Scores capped by a tanh are in no fused kernel: its output and softmax's, in two widths, a
    square each; keys and values once for every head of queries."""
    a = form.architecture
    states = (4 if form.trains else 3) * form.width * a.query
    return states + 8.0 * a.heads * form.length


def _feed_forward(form: Form) -> float:
    """Gate, its activation, up and their product; the product only where the last layer trains."""
    a = form.architecture
    each = form.stack.mlp_full if form.trains else form.stack.mlp_frozen
    inner = a.experts.shared if a.experts else a.ffn
    return each * form.width / 2 * inner * (1.0 if a.gated else 0.5)


def _work(form: Form) -> float:
    """At the worst moment, where feed-forward's product is differentiated or recomputed."""
    a = form.architecture
    inner = mixtures.inner(form) if a.experts else a.ffn
    routed = mixtures.work(form) if a.experts and form.weights != "experts" else 0.0
    if form.own and form.adapts_down:
        # The product, what the adapter makes of it in fp32, and its bf16 copy: recomputed last.
        made = 2.0 * inner + (4.0 * inner if form.stack.autocast else 0.0)
        backward = 4.0 * inner
        return max(made + 10.0 * a.hidden, backward + 10.0 * a.hidden, routed)
    kept = 4 if form.trains or form.adapts_down else 3
    return max((TENSORS - kept) * float(form.width) * inner + form.wide * a.hidden, routed)


def dequantised_bytes(load: Load) -> float:
    """qlora: one matrix in bf16 at a time."""
    if load.weights != "qlora":
        return 0.0
    return 2.0 * max(inward * out for inward, out in linears(load.architecture).values())
