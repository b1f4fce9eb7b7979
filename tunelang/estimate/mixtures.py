"""What mixtures of experts and latent attention save beside what every layer does.

transformers 5.23 keeps all experts of a layer in two parameters and multiplies them in groups
(integrations/moe.py); our own experts that train are computed in turn (train/experts.py).
"""

from __future__ import annotations

from tunelang.estimate.form import Form
from tunelang.estimate.load import ADAPTERS, Load, trainable
from tunelang.estimate.sizes import routed_count

ROUTER = 24  # bytes of each expert asked: its place and its weight, in forward and for backward


def saved(form: Form) -> float:
    """Bytes a token that routed experts save: inputs and outputs gathered, what is inside, and the
    router's shares in fp32."""
    a = form.architecture
    assert a.experts
    half = form.width / 2
    inside, state = half * a.experts.ffn, half * a.hidden
    router = 8.0 * a.experts.count + ROUTER * a.experts.active
    if form.trains or adapted(form):  # inputs of both products are kept for weights that train
        return a.experts.active * (8 * inside + 4 * state) + router
    if form.weights != "experts":
        return a.experts.active * (6 * inside + 2 * state) + router
    more = form.share * a.experts.active * (2 * inside + 2 * state)
    return a.experts.active * (6 * inside + 4 * state) + more + router


def chosen(form: Form) -> float:
    """What of that chosen experts save for themselves."""
    a = form.architecture
    assert a.experts
    half = form.width / 2
    return form.share * a.experts.active * half * (8 * a.experts.ffn + 2 * a.hidden)


def inner(form: Form) -> float:
    """Inner width of what is differentiated at once: of our own experts one at a time."""
    a = form.architecture
    assert a.experts
    if form.weights != "experts":
        return a.inner
    return a.experts.shared + a.experts.active * a.experts.ffn / a.experts.count


def work(form: Form) -> float:
    """Bytes a token that grouped experts make for a while: their outputs weighed, gathered and
    added up; in fp32 where the router's weights stay so (DeepSeek)."""
    a = form.architecture
    assert a.experts
    width = 4 if a.family.startswith("deepseek") else form.width
    return a.experts.active * 3.0 * width * a.hidden + 3.0 * form.wide * a.hidden


def adapted(form: Form) -> bool:
    """Do routed experts have adapters? PEFT adds those to the weights themselves."""
    return form.weights in ADAPTERS and form.targets == "all_linear"


def copies(load: Load) -> float:
    """Bytes of all weights that a pass makes of experts: with adapters added, or in bf16."""
    a = load.architecture
    if a.experts is None:
        return 0.0
    if load.weights in ADAPTERS and load.targets == "all_linear":
        return float(load.width * routed_count(a))
    if load.weights == "experts" and load.width == 2:
        return 2.0 * trainable(load)
    return 0.0


def latent(form: Form) -> float:
    """Bytes a token of DeepSeek's attention: queries, keys, the product that values are a part of,
    what comes out, and the norms of what is compressed."""
    a = form.architecture
    m = a.latent
    assert m
    values = a.heads * m.value
    saved = form.width * (2 * a.query + a.heads * m.plain + 2 * values) + 4.0 * a.heads
    each = form.stack.norm_full if form.trains else form.stack.norm_frozen
    narrow = m.kv_rank + (m.query_rank or 0)
    return saved + each * narrow + form.stack.norm_token * (2 if m.query_rank else 1)
