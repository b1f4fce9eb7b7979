"""What mixtures of experts and latent attention save beside what every layer does."""

from __future__ import annotations

from tunelang.estimate.form import Form


def saved(form: Form) -> float:
    """Bytes a token that routed experts save: their inputs and outputs gathered, what is inside,
    and the router's fp32 shares (planner notes, section 3)."""
    a = form.architecture
    assert a.experts
    inside = (form.stack.mlp_full if form.trains else form.stack.mlp_frozen) * a.experts.ffn
    return a.experts.active * (4 * a.hidden + inside) * form.width / 2 + 8 * a.experts.count


def latent(form: Form) -> float:
    """Bytes a token of DeepSeek's attention."""
    a = form.architecture
    return form.width * (2 * a.query + 2 * a.kv) + 4.0 * a.heads
