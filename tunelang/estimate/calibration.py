"""What was measured on a device of one kind, laid over what formulas say."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Calibration:
    """Three steps of a small model, measured against what was predicted for them.

    `device` is the catalogue's name of the GPU (`cpu` for a processor), `stack` the versions that
    ran. `time` is measured over predicted seconds of a step without its start, `reserved` measured
    over predicted bytes of the device (its middle). `date` is the day of the measurement.
    """

    device: str
    stack: str
    date: str
    time: float
    reserved: float
    steps: int = 3
