"""What a step is predicted to need, as it stands in the plan."""

from __future__ import annotations

from pydantic import Field

from tunelang.sources.parts import Frozen


class Estimate(Frozen):
    """Predicted needs. Bytes are per device; seconds are a band. `basis` says what they rest on.

    `allocated` is what tensors take at the worst moment, in the phase named; `terms` part it by
    what it is, `phases` are the sums of the other moments. `peak` is what the device must have
    free for it: with what the allocator reserves and what lies outside it, from `peak_low` to
    `peak_high`. `host` is memory of one machine beside its devices, `disk` what the step writes.
    """

    parameters: int
    trainable: int
    allocated: int
    terms: dict[str, int]
    phases: dict[str, int] = Field(default_factory=dict)
    phase: str
    peak: int
    peak_low: int
    peak_high: int
    usable: int
    host: int = 0
    disk: int = 0
    flops: float = 0.0  # operations of one update, all devices together
    tokens_per_second: float = 0.0  # all devices together
    seconds_low: float
    seconds: float
    seconds_high: float
    dollars: float | None
    basis: str
