"""What decides how much a layer saves of one token: everything but how many tokens there are."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from tunelang.catalog.stacks import Stack
from tunelang.estimate.architecture import Architecture
from tunelang.estimate.load import ADAPTERS, Load
from tunelang.estimate.parameters import Targets, chosen, linears

OUTWARD = ("o_proj", "dense", "out_proj")  # read what attention made
DOWN = ("down_proj", "fc2", "c_proj", "dense_4h_to_h")  # read the inner width
FED = ("gate_proj", "up_proj", "gate_up_proj", "fc1", "c_fc", "dense_h_to_4h")


@dataclass(frozen=True)
class Form:
    """Elements inside a layer are `width` bytes, hidden states between layers `wide`; `share` of
    the routed experts trains."""

    architecture: Architecture
    stack: Stack
    weights: str
    rank: int
    targets: Targets
    dora: bool
    share: float
    width: int
    wide: int
    length: int

    @classmethod
    def of(cls, load: Load) -> Form:
        return cls(
            load.architecture,
            load.stack,
            load.weights,
            load.rank,
            load.targets,
            load.dora,
            load.share,
            load.width,
            load.wide,
            load.length or load.tokens,
        )

    @property
    def trains(self) -> bool:
        """Do the layer's own weights train?"""
        return self.weights in ("full", "layers")

    @cached_property
    def reading(self) -> dict[str, tuple[int, int]]:
        """The linear layers that read hidden states."""
        read = linears(self.architecture).items()
        return {name: size for name, size in read if name not in (*OUTWARD, *DOWN)}

    @cached_property
    def adapted(self) -> dict[str, tuple[int, int]]:
        """The linear layers with an adapter."""
        if self.weights not in ADAPTERS:
            return {}
        found = chosen(self.architecture, self.targets)
        if not self.architecture.family.startswith("deepseek"):
            return found
        # PEFT 0.21 does not reach its shared experts (train/targets.py, `unreached`).
        return {name: size for name, size in found.items() if name not in (*FED, *DOWN)}

    @property
    def adapts_down(self) -> bool:
        """Is there an adapter whose input is the product of gate and up?"""
        return self.weights == "ia3" or any(name in DOWN for name in self.adapted)

    @property
    def own(self) -> bool:
        """Does every adapter keep a copy of its input in another type than the layer computes in?

        Under autocast PEFT's layers for few bits leave their input as it is.
        """
        if self.width == 4 or (self.stack.upcast and self.weights == "qlora"):
            return False
        return not (self.weights == "qlora" and self.stack.autocast)


def norm(form: Form, *, trains: bool) -> float:
    """Bytes a token that a norm over hidden states saves."""
    a, stack = form.architecture, form.stack
    if a.norm in ("layer", "plain"):  # torch's own: its input, in fp32 under autocast, two figures
        return (4 if stack.autocast else form.wide) * a.hidden + 8
    return elements(form, form.wide, trains=trains) * a.hidden + stack.norm_token


def elements(form: Form, width: int, *, trains: bool) -> float:
    """Bytes an element that a root-mean-square norm over elements of this width saves."""
    stack = form.stack
    if width == 4:
        return stack.norm_wide_full if trains else stack.norm_wide_frozen
    if not trains:
        return stack.norm_frozen
    return stack.norm_full + (2 if form.architecture.norm == "gemma" else 0)


def adapters(form: Form) -> float:
    """Bytes a token that adapters save: their inputs, and what A makes of them."""
    a = form.architecture
    if form.weights == "ia3":
        return 2.0 * form.width * a.kv + 4.0 * a.inner
    stack, found = form.stack, form.adapted
    narrow = form.width if stack.autocast else stack.adapter
    saved = float(narrow * form.rank * len(found))
    if form.dora:  # what the base makes and what the adapter makes, for the length of each row
        saved += 2.0 * form.width * sum(out for _, out in found.values())
    if form.own:
        return saved + stack.adapter_input * sum(inward for inward, _ in found.values())
    width = 4 if stack.upcast else form.width
    return saved + width * _shared(form)


def _shared(form: Form) -> int:
    """Elements of the inputs that adapters share: what attention made is saved as it is."""
    a, names = form.architecture, set(form.adapted)
    fed = a.hidden if names & set(FED) else 0
    attended = a.hidden if names - {*FED, *OUTWARD, *DOWN} else 0
    return fed + attended + (a.inner if names & set(DOWN) else 0)
