"""What a step is predicted to need, as it stands in the plan."""

from __future__ import annotations

from tunelang.sources.parts import Frozen


class Estimate(Frozen):
    """Predicted needs. Bytes are per device; seconds are a band. `basis` says what they rest on."""

    parameters: int
    trainable: int
    weights: int
    gradients: int
    optimiser: int
    activations: int
    other: int
    peak: int
    peak_low: int
    peak_high: int
    phase: str
    usable: int
    seconds_low: float
    seconds: float
    seconds_high: float
    dollars: float | None
    basis: str
