"""What a device reaches of what its data sheet says: operations, memory, links.

GPUs are known by the generation of their tensor cores. Every share is a published figure of
training runs or kernels; where none is published the lower end of the others' stands.
"""

from __future__ import annotations

from dataclasses import dataclass

from tunelang.estimate.layout import Layout
from tunelang.estimate.machine import Machine

# Share of the peak that matrix products reach in eager training, whose other parts are counted
# apart: A100 0.61 to 0.70, H100 0.45 to 0.62 (planner notes, section 3).
PRODUCTS = {"Ampere": 0.655, "Hopper": 0.535}
PRODUCTS_OTHER = 0.45
# Narrow models reach less: over 105 runs of MPT, 768 to 8192 wide, the tenth root of their width
# over 5120 (tests/data/throughput_calibration.csv).
WIDE, NARROW = 5120, 0.1
# FlashAttention-2, forward and backward of causal attention: 140 to 190 TFLOP/s on A100 and 230 to
# 340 on H100 (arXiv 2307.08691, figures 4 and 7).
ATTENTION = {"Ampere": 0.5, "Hopper": 0.29}
ATTENTION_OTHER = 0.29
FP32 = 1 / 16  # of the bf16 peak without tensor cores: 19.5 of 312 (A100), 67 of 989 (H100)

# FLOP/s of one core in large multiplications, AVX-512 with and without bf16 (stack notes, 0).
CPU_BF16, CPU_FP32, CPU_SLOW_BF16 = 138e9, 66e9, 15e9
# Share of that in a training step: SmolLM2-135M with LoRA in bf16, 8 rows of 128 tokens, took 3.7 s
# on two cores that were not quiet, 0.55 TFLOP.
CPU_EFFICIENCY = 0.55
CPU_BANDWIDTH = 10e9  # bytes/s of one core
GLOO = 1e9  # bytes/s between processes of a CPU: 10 Gb/s, less its headers

# Seconds of host time for one kernel in eager PyTorch, and kernels of a layer in one pass: about 30
# of a Llama layer, and 6 for every adapter.
LAUNCH, KERNELS, ADAPTER_KERNELS = 7e-6, 30, 6

# Network adapters of a node move 25 GB/s for each GPU (planner notes: 1600 Gb/s for eight); all of
# them carry a ring's traffic together.
NETWORK = 25e9
HOST_LINK = 25e9  # PCIe 4 x16, what memory beside the GPU is reached by
HOST_MEMORY = 100e9  # bytes/s that an optimizer on the CPU reads and writes: half of eight channels

ALONE = Layout(micro=1)


@dataclass(frozen=True)
class Rates:
    """Of one device: FLOP/s of products and attention, bytes/s of its memory, of the link to others
    and to host memory, seconds of host time a kernel. `parallel`: it computes while the host and
    the links work, as GPUs do."""

    products: float
    attention: float
    memory: float
    link: float
    host: float
    launch: float
    parallel: bool


def rates(machine: Machine, precision: str, hidden: int, layout: Layout = ALONE) -> Rates:
    """Of one device of a machine (one process of a CPU) on a model so wide."""
    if machine.gpu is None:
        return _cpu(machine, precision)
    gpu = machine.gpu
    share = PRODUCTS.get(gpu.architecture, PRODUCTS_OTHER)
    attention = ATTENTION.get(gpu.architecture, ATTENTION_OTHER)
    peak = gpu.flops * (FP32 if precision == "fp32" else 1.0)
    narrow = min(1.0, hidden / WIDE) ** NARROW
    network = NETWORK * layout.devices / layout.nodes
    link = gpu.link if layout.nodes == 1 else min(gpu.link, network)
    products = peak * share * narrow
    return Rates(products, peak * attention, gpu.bandwidth, link, HOST_LINK, LAUNCH, parallel=True)


def _cpu(machine: Machine, precision: str) -> Rates:
    core = CPU_FP32 if precision == "fp32" else CPU_BF16 if machine.bf16 else CPU_SLOW_BF16
    reached = core * machine.cores * CPU_EFFICIENCY
    memory = CPU_BANDWIDTH * machine.cores
    return Rates(reached, reached, memory, GLOO, memory, LAUNCH, parallel=False)
