"""Peak memory of one training step on one device, in closed form.

The peak is the maximum over phases, never a sum. Tests hold the form against steps executed on
tensors without contents (tests/data/memory_golden.json, tests/data/oracle.json).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tunelang.estimate import mixtures
from tunelang.estimate.activations import dense, dequantised_bytes, layer
from tunelang.estimate.form import Form, norm
from tunelang.estimate.gathered import gathered
from tunelang.estimate.load import Load
from tunelang.estimate.loss import Logits, logits
from tunelang.estimate.sizes import block_count, linear_count
from tunelang.estimate.states import (
    DIVIDES_GRADIENTS,
    bucket_bytes,
    divided,
    gradient_bytes,
    optimizer_bytes,
    stepping_bytes,
    trained_width,
    weight_bytes,
)

# Bytes of an element of hidden states while the last norm is differentiated: four tensors in fp32.
NORM = 16


@dataclass(frozen=True)
class Memory:
    """Bytes allocated at the worst moment, by what they are; and the sum of every phase.

    `terms` has weights, gradients, optimizer, activations, logits and buffers, where they are
    there; they add up to `allocated`, which is the largest of `phases`, that of `phase`.
    """

    terms: Mapping[str, float]
    phases: Mapping[str, float]
    phase: str

    @property
    def allocated(self) -> float:
        return self.phases[self.phase]


@dataclass(frozen=True)
class Parts:
    """What phases are sums of, in bytes.

    `kept` is saved between forward and backward by all layers, `first` by the first one alone;
    `live` is what the layer in hand holds and makes; `above` what lies between the last layer and
    the logits; `copies` are those of weights that products are computed with: of all layers, of
    one, of the head; `cached` those that autocast keeps until forward has ended.
    `stepping` are gradients while the optimizer steps; `whole` is what sharding adds, by phase.
    """

    weights: float
    gradients: float
    stepping: float
    optimizer: float
    buffers: float
    whole: Mapping[str, float]
    kept: float
    live: float
    above: float
    words: Logits
    copies: tuple[float, float, float]
    cached: float
    embedding: float
    gradient: float


def memory(load: Load, family: str = "tokens") -> Memory:
    """The peak of a step: forward, loss, last and first layer's backward, end, optimizer.

    A policy's `figures` are taken of all its logits once gradients are there.

    `family` says whose loss it is: of tokens, of comparisons, or of a policy's replies.
    """
    parts = _parts(load, family)
    summed = _phases(load, parts, family)
    phases = {name: size + parts.whole.get(name, 0.0) for name, size in summed.items()}
    phase = max(phases, key=lambda name: phases[name])
    return Memory(_terms(load, parts, phase, phases), phases, phase)


def _parts(load: Load, family: str) -> Parts:
    a, form = load.architecture, Form.of(load)
    found, words = layer(form), logits(load, family)
    state = float(load.wide * a.hidden * load.tokens)
    passed = passed_layers(load)
    live = max(found.work * load.tokens, found.turning * load.tokens + dequantised_bytes(load))
    live += found.saved * load.tokens if load.checkpointing else 0.0
    above = norm(form, trains=load.weights == "full") * load.tokens if passed else 0.0
    copies = _copies(load, words.pieces > 0)
    live = live + copies[1] * load.checkpointing if passed else 0.0
    return Parts(
        weights=weight_bytes(load),
        gradients=gradient_bytes(load),
        stepping=stepping_bytes(load),
        optimizer=optimizer_bytes(load),
        buffers=bucket_bytes(load),
        whole=gathered(load),
        kept=_kept(load, form, state),
        live=live,
        above=above + words.kept + (words.held if family != "policy" else 0.0),
        words=words,
        copies=copies,
        cached=_cast(load) if load.checkpointing and load.weights != "head" else 0.0,
        embedding=float(a.vocab * a.hidden),
        gradient=state,
    )


def _kept(load: Load, form: Form, state: float) -> float:
    """What layers keep for backward: where they are recomputed, the input of every one."""
    a, found = load.architecture, layer(form)
    if load.checkpointing:
        return a.layers * state
    saved = passed_layers(load) * found.saved - found.untouched
    if a.dense and a.experts:
        saved += a.dense * (dense(form).saved - found.saved)
    return saved * load.tokens


def _copies(load: Load, head: bool) -> tuple[float, float, float]:
    """bf16 copies that autocast makes of fp32 weights: of all layers, of one, of the head."""
    a, layers, top = load.architecture, mixtures.copies(load), 0.0
    if load.casts:
        top = 2.0 * a.vocab * a.hidden * head
    one = (layers + (2.0 * linear_count(a) if load.casts else 0.0)) / a.layers
    return layers + _cast(load), one, top


def _cast(load: Load) -> float:
    """bf16 copies of all matrices that gradients pass; others are let go at once."""
    if not load.casts:
        return 0.0
    return 2.0 * linear_count(load.architecture) * passed_layers(load) / load.architecture.layers


def passed_layers(load: Load) -> int:
    """How many layers gradients pass: a tied head is the embedding, below all of them."""
    a = load.architecture
    if load.weights == "head" and not a.tied:
        return 0
    return min(load.last or a.layers, a.layers) if load.weights == "layers" else a.layers


def _phases(load: Load, p: Parts, family: str) -> dict[str, float]:
    a, words = load.architecture, p.words
    trained = trained_width(load)
    head = load.weights in ("full", "head") and words.pieces > 0
    resting = p.weights + p.optimizer + p.buffers
    held = resting + (p.gradients if load.buffered else 0.0)
    layers, _, top = p.copies
    saved = p.kept + (0.0 if load.checkpointing else layers)
    waiting = held + saved + p.above
    # Replies pass the head in an autocast of its own.
    logit = max(p.cached, words.forward) if family == "policy" else p.cached + words.forward
    made = _head(load, p) if head else (0.0, 0.0)
    # Sharded, the head's gradient is whole until its layer is done, in the step's precision;
    # accumulated, it is added to one that is there, where that is whole, too.
    width = load.width if load.sharded else trained
    added = load.accumulates and p.gradients and divided(load, DIVIDES_GRADIENTS) == 1
    own = width * p.embedding if head and not added else 0.0
    some = load.wide * a.hidden * load.scored * load.tokens if words.pieces > 1 else 0.0
    back = resting + p.gradients
    after = back + words.held
    # Of a frozen head nothing is kept: its bf16 copy is gone when there are logits.
    return {
        "forward": waiting + logit + (top if head else 0.0),
        "loss": waiting + words.backward + top + some + made[0] / 2,
        "head": waiting + some + max(words.head + top + made[0], made[1]),
        "norm": waiting + NORM * a.hidden * load.tokens,
        "last layer": held + words.held + own + saved + p.live,
        "first layer": after - _outside(load, p) + p.gradient + p.live + _one_layer(load, p),
        "end": after + p.gradient + _embedding(load, p),
        "optimizer": resting + p.stepping,
        **({"figures": back + words.backward} if family == "policy" else {}),
    }


def _outside(load: Load, p: Parts) -> float:
    """Gradients that are not there yet when the first layer is in hand: the embedding's, and the
    layer's own but for the last matrix."""
    if load.buffered or load.weights != "full":
        return 0.0
    a = load.architecture
    own = block_count(a) / a.layers - a.hidden * (a.ffn if a.experts is None else 0)
    known = a.tied and p.words.pieces > 0  # the head's gradient is that of the embedding
    later = trained_width(load) * (own + (0.0 if known else p.embedding))
    return later / divided(load, DIVIDES_GRADIENTS)


def _one_layer(load: Load, p: Parts) -> float:
    """What the layer in hand saved, where it is not recomputed."""
    passed = passed_layers(load)
    if load.checkpointing or not passed:
        return 0.0
    return p.kept / passed + p.copies[1]


def _head(load: Load, p: Parts) -> tuple[float, float]:
    """The head's gradient as a piece makes it, and as it is added: the sum, the new one, both."""
    one = load.width * p.embedding
    if p.words.pieces > 1:
        return 2 * one, 3 * one
    return 0.0, one + (one + 4 * p.embedding if load.casts else 0.0)


def _embedding(load: Load, p: Parts) -> float:
    """Gradients of the embedding beside the ones that stay."""
    if load.weights not in ("full", "head") or not passed_layers(load):
        return 0.0
    width = trained_width(load)
    both = load.architecture.tied and p.words.pieces > 0
    extra = (2 if both else 0) + load.accumulates
    return extra * width * p.embedding


def _terms(load: Load, p: Parts, phase: str, phases: Mapping[str, float]) -> dict[str, float]:
    """The peak parted by what it is; gradients that are still to come are not there."""
    there = load.buffered or phase not in ("forward", "loss", "head", "norm", "last layer")
    gradients = p.stepping if phase == "optimizer" else p.gradients
    gradients -= _outside(load, p) if phase == "first layer" else 0.0
    fixed = {
        "weights": p.weights,
        "gradients": gradients if there else 0.0,
        "optimizer": p.optimizer,
        "buffers": p.buffers + p.whole.get(phase, 0.0),
    }
    words = {"forward": p.words.forward, "head": p.words.head}
    own = p.words.backward if phase in ("loss", "figures") else words.get(phase, 0.0)
    rest = phases[phase] - sum(fixed.values()) - own
    found = {**fixed, "activations": rest, "logits": own}
    return {name: size for name, size in found.items() if size}
