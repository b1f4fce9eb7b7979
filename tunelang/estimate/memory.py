"""Peak memory of one training step on one device, in closed form.

The peak is the maximum over phases, never a sum. Bytes per element come from the code of
transformers 5.23, peft 0.21 and torch 2.13; a test holds the form against steps executed on meta
tensors (tests/data/memory_golden.json).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tunelang.estimate.activations import live_bytes, saved_bytes
from tunelang.estimate.load import Load
from tunelang.estimate.states import gradient_bytes, optimizer_bytes, weight_bytes

# Bytes per logit: transformers upcasts to fp32 (4), log-softmax (4) and its gradient in bf16 and
# fp32; 10 at the end of forward, 12 in the loss's backward.
LOGIT_FORWARD, LOGIT_BACKWARD = 10, 12
LOGIT_KEPT = 2  # the caller holds the bf16 logits too


@dataclass(frozen=True)
class Memory:
    """Bytes allocated at the worst moment, by what they are; and the sum of every phase.

    `terms` has weights, gradients, optimizer, activations, logits and other, where they are there;
    they add up to `allocated`, which is the largest of `phases`, that of `phase`.
    """

    terms: Mapping[str, float]
    phases: Mapping[str, float]
    phase: str

    @property
    def allocated(self) -> float:
        return self.phases[self.phase]


def memory(load: Load) -> Memory:
    """The peak of a step: forward end, last and first layer's backward, end, optimizer."""
    held, gradients, optimizer = weight_bytes(load), gradient_bytes(load), optimizer_bytes(load)
    fixed = held + optimizer + (gradients if load.accumulates else 0)
    layers, live = load.architecture.layers, live_bytes(load)
    saved = saved_bytes(load)
    embedding = (
        0.0 if load.weights != "full" else 2.0 * load.architecture.vocab * load.architecture.hidden
    )
    kept = LOGIT_KEPT * logits(load) if load.keeps_logits else 0.0
    # Without checkpointing the last layer's activations are among the saved ones already.
    extra = saved if load.checkpointing else 0.0
    phases = {
        "loss": fixed + layers * saved + extra + LOGIT_BACKWARD * logits(load) + kept,
        "last layer": fixed + layers * saved + live + kept + _head_gradient(load),
        "first layer": held + optimizer + gradients - embedding + saved + live + kept,
        "end": held
        + optimizer
        + gradients
        + (2 * embedding if load.architecture.tied else 0.0)
        + kept,
        "optimizer": held + optimizer + gradients + (gradients if load.foreach else 0.0),
    }
    phase = max(phases, key=lambda name: phases[name])
    return Memory(_terms(load, phase, phases[phase]), phases, phase)


def _terms(load: Load, phase: str, peak: float) -> dict[str, float]:
    """The peak parted by what it is."""
    fixed = {
        "weights": weight_bytes(load),
        "gradients": gradient_bytes(load),
        "optimizer": optimizer_bytes(load),
    }
    if phase in ("loss", "last layer") and not load.accumulates:
        fixed["gradients"] = 0.0
    rest = peak - sum(fixed.values())
    words = LOGIT_BACKWARD * logits(load) if phase == "loss" else 0.0
    return {**fixed, "activations": rest - words, "logits": words}


def logits(load: Load) -> float:
    """How many are computed in a micro-batch."""
    return load.scored * load.architecture.vocab * load.tokens


def _head_gradient(load: Load) -> float:
    """The head's gradient, which exists when the last layer's backward runs."""
    return (
        float(load.width * load.architecture.vocab * load.architecture.hidden)
        if load.weights == "full"
        else 0.0
    )
