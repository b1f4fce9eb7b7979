"""Time from first principles: operations over what the device achieves, as a band."""

from __future__ import annotations

from dataclasses import dataclass

from tunelang.estimate.machine import Machine
from tunelang.estimate.work import Work

# Model FLOPs utilisation: published rows of H100 lie at 0.38-0.46, of A100 at 0.40-0.60
# (planner notes, section 3); other cards have no rows and take the lower end.
MFU = {"H100-80GB": 0.42, "H200": 0.42, "A100-80GB": 0.46, "A100-40GB": 0.46}
MFU_OTHER = 0.38
GPU_BAND = (0.75, 1.35)  # a first-principles figure without a probe is within 25-35 %
# FLOP/s of one core in large multiplications, AVX-512 with and without bf16 (stack notes, 0).
CPU_BF16, CPU_FP32, CPU_SLOW_BF16 = 138e9, 66e9, 15e9
# Share of that in a training step: SmolLM2-135M with LoRA in bf16, 8 rows of 128 tokens, took 3.7 s
# on two cores that were not quiet, 0.55 TFLOP.
CPU_EFFICIENCY = 0.55
CPU_BAND = (0.5, 2.0)
START = 4.0  # seconds to start a worker, import its libraries and save (measured on two cores)
DECODE = 0.6  # share of the memory bandwidth that decoding one token after another reaches
CPU_BANDWIDTH = 20e9  # bytes/s of two cores reading weights


@dataclass(frozen=True)
class Seconds:
    low: float
    middle: float
    high: float


def seconds(work: Work, machine: Machine, *, checkpointing: bool) -> Seconds:
    """The whole step: start, every update, and for ppo every rollout."""
    train = work.steps * (
        _update(work, checkpointing) / _rate(work, machine) + _rollout(work, machine)
    )
    low, high = GPU_BAND if machine.kind == "gpu" else CPU_BAND
    return Seconds(START + train * low, START + train, START + train * high)


def _rate(work: Work, machine: Machine) -> float:
    """FLOP/s that all devices reach together."""
    if machine.gpu:
        return machine.gpu.flops * MFU.get(machine.gpu.name, MFU_OTHER) * machine.count
    core = CPU_FP32 if work.precision == "fp32" else CPU_BF16 if machine.bf16 else CPU_SLOW_BF16
    return core * machine.cores * CPU_EFFICIENCY


def _forward(work: Work, tokens: float) -> float:
    """Operations of a forward pass: 2 per weight and token, and causal attention."""
    a = work.architecture
    attention = 4.0 * a.layers * a.query * work.positions / 2
    return tokens * (2.0 * work.active + attention)


def _update(work: Work, checkpointing: bool) -> float:
    """Operations of one update: backward costs two forwards, one where only adapters train."""
    passes = (3 if work.weights == "full" else 2) + checkpointing
    sequence = work.prompt + work.reply if work.reply else work.mean_length
    tokens = float(work.batch * work.rows * sequence)
    if not work.reply:
        return passes * _forward(work, tokens)
    # Policy and value train on each pass over the rollout; they and what is frozen score it once.
    training = 1 + work.critic
    scored = (training * (passes * work.epochs + 1) + work.frozen) * _forward(work, tokens)
    return scored + passes * _forward(work, float(work.texts))


def _rollout(work: Work, machine: Machine) -> float:
    """Seconds of sampling: the weights are read once a token, for all rows of a device at once."""
    if not work.reply:
        return 0.0
    bandwidth = machine.gpu.bandwidth if machine.gpu else CPU_BANDWIDTH
    read = work.reply * work.width * work.parameters / (bandwidth * DECODE)
    compute = _forward(work, float(work.batch * (work.prompt + work.reply))) / _rate(work, machine)
    return read + compute
