"""From the bytes that tensors take to what the device must have: a band, and whether it fits.

The allocator of torch keeps what was freed, in blocks that later tensors may not fit, and the CUDA
context and NCCL lie outside it. How much that is was published for 188 runs beside the allocated
bytes: `nvidia-smi` less `max_memory_allocated` (tests/data/memory_calibration.csv). These shares
are low decile, median and high decile over the runs of Mistral-7B and Llama-3-8B of each kind; the
runs of all other models test them blind (tests/estimate/test_calibration.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tunelang.estimate.calibration import Calibration

GIB = 2**30
ACCEPT, REFUSE = 0.85, 0.95  # of usable memory (planner notes, point 3)
# Planner notes, section 3 ("outside the allocator"): CUDA context and cuBLAS 0.5 to 0.8 GiB, and
# 0.5 to 1.5 GiB more with several devices.
CONTEXT, NETWORK = 0.6 * GIB, 1.0 * GIB

Shares = tuple[float, float, float]
# Reserved over allocated. With fused or chunked losses on one device: 13 runs.
PIECES: Shares = (1.03, 1.08, 1.10)
# With all logits at once on one device: 22 runs. The blocks of logits are used for nothing else.
LOGITS: Shares = (1.02, 1.27, 1.51)
# Weights that come and go: FSDP1, whose frees wait for other streams (`record_stream`); 31 runs of
# adapters, 7 of which hold all logits of 128,000 words; and 12 runs that train everything.
SHARDED_ADAPTERS: Shares = (1.13, 1.18, 1.40)
SHARDED_FULL: Shares = (1.25, 1.42, 1.50)
# FSDP2 does without `record_stream`, so that "memory usage is deterministic and expected"
# (docs.pytorch.org, fully_shard); it is counted as one device is. ZeRO-3 of DeepSpeed is not.
STREAMS = ("fsdp1", "zero3")

# A CPU's resident bytes over tracked ones, measured on steps of small models (stack notes, section
# 9), and interpreter and libraries of each process; nothing is published for CPUs.
CPU_FACTOR, CPU_PROCESS = 1.35, 0.6 * GIB
CPU_LOW, CPU_HIGH = 0.7, 1.4
MEASURED_LOW, MEASURED_HIGH = 0.9, 1.1  # around what three steps on the device made of the middle

Fits = Literal["yes", "tight", "no"]


@dataclass(frozen=True)
class Band:
    """Bytes that one device must have: low, middle and high.

    `least` is what no allocator can give back. On a GPU these are the tensors alone: before it
    fails, torch frees every block that it only keeps. On a CPU it is the middle.
    """

    least: float
    low: float
    middle: float
    high: float


def reserved(
    allocated: float,
    *,
    loss: str = "chunked",
    sharding: str = "none",
    devices: int = 1,
    trains_all: bool = False,
) -> Band:
    """What a GPU must have for `allocated` bytes of tensors.

    `loss` is plain, chunked or fused; `trains_all` where every weight trains.
    """
    outside = CONTEXT + (NETWORK if devices > 1 else 0.0)
    low, middle, high = _shares(loss, sharding, trains_all)
    return Band(
        allocated,
        allocated * low + outside,
        allocated * middle + outside,
        allocated * high + outside,
    )


def _shares(loss: str, sharding: str, trains_all: bool) -> Shares:
    if sharding in STREAMS:
        return SHARDED_FULL if trains_all else SHARDED_ADAPTERS
    return LOGITS if loss == "plain" else PIECES


def resident(allocated: float) -> Band:
    """What one process on a CPU must have for `allocated` bytes of tensors."""
    middle = allocated * CPU_FACTOR + CPU_PROCESS
    return Band(middle, middle * CPU_LOW, middle, middle * CPU_HIGH)


def fits(band: Band, usable: float) -> Fits:
    """Yes below 85 % of what is usable; no where what cannot be given back is above 95 %.

    Between the two the step runs by all that is known, if the allocator gives back what it keeps:
    of 188 published runs that did, some held tensors of 94.5 % of their device.
    """
    if band.middle <= ACCEPT * usable:
        return "yes"
    return "no" if band.least > REFUSE * usable else "tight"


def calibrated(band: Band, calibration: Calibration | None) -> Band:
    """The band as a probe of the device moved it: within 10 % of what it measured."""
    if calibration is None:
        return band
    middle = band.middle * calibration.reserved
    return Band(min(band.least, middle), middle * MEASURED_LOW, middle, middle * MEASURED_HIGH)
