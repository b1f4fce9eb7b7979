"""The machine a step is planned for: one that the recipe names, or this one."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Literal

from tunelang.catalog import gpus
from tunelang.catalog.gpus import Gpu
from tunelang.estimate.calibration import Calibration


@dataclass(frozen=True)
class Machine:
    """`count` devices, or processes of a CPU, on each of `nodes` machines.

    `memory` and `usable` are bytes of one device, or of one process's part of a CPU's memory; so
    are `cores`. `price` is $/h of one GPU, or of one machine without any. `host` is the memory
    beside the GPUs of one machine, None where nobody said. `calibration` was measured on such a
    device. `shardings` are those that its launcher can start; None: any.
    """

    kind: Literal["cpu", "gpu"]
    gpu: Gpu | None
    count: int
    memory: int
    usable: int
    cores: int
    price: float | None
    bf16: bool
    nodes: int = 1
    host: int | None = None
    calibration: Calibration | None = None
    shardings: tuple[str, ...] | None = None

    @property
    def devices(self) -> int:
        """Of all machines together."""
        return self.count * self.nodes

    @property
    def dollars(self) -> float | None:
        """$/h of all of them, whether a step uses them or not."""
        if self.price is None:
            return None
        return self.price * (self.devices if self.kind == "gpu" else self.nodes)

    @property
    def undivided(self) -> Machine:
        """As one process has it that no others run beside: all memory and cores of a CPU."""
        if self.kind == "gpu":
            return self
        return replace(
            self,
            count=1,
            memory=self.memory * self.count,
            usable=self.usable * self.count,
            cores=self.cores * self.count,
        )


@cache
def machine_here() -> Machine:
    """Read off this machine: its GPUs if nvidia-smi names some in the catalogue, else its CPU."""
    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    found = _gpus_here()
    if found:
        gpu = found[0]
        return Machine(
            "gpu", gpu, 1, gpu.memory, gpu.usable, cores, None, gpu.bf16, host=_memory_here()
        )
    memory = _memory_here()
    return Machine("cpu", None, 1, memory, memory, cores, None, _fast_bf16())


def _gpus_here() -> list[Gpu]:
    """One stage uses one GPU unless a recipe names more."""
    if not shutil.which("nvidia-smi"):
        return []
    asked = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    try:
        answer = subprocess.run(asked, capture_output=True, text=True, timeout=5, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    return [gpu for line in answer.splitlines() if (gpu := gpus.find(line))]


def _memory_here() -> int:
    """Bytes of RAM, or of the control group's limit where that is lower."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for limit in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            text = Path(limit).read_text().strip()
        except OSError:
            continue
        if text.isdigit():
            total = min(total, int(text))
    return total


def _fast_bf16() -> bool:
    """Whether the CPU multiplies bfloat16 in hardware."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return False
    return "avx512_bf16" in text or "amx_bf16" in text
