"""What this machine has, found without torch: cores, memory, GPUs."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

QUERY = (
    "nvidia-smi",
    "--query-gpu=name,memory.total,driver_version",
    "--format=csv,noheader,nounits",
)
PATIENCE = 20  # seconds; nvidia-smi can take several to wake a sleeping driver
MIB = 1 << 20


@dataclass(frozen=True)
class Gpu:
    name: str
    memory: int  # bytes
    driver: str


@dataclass(frozen=True)
class Machine:
    """`cores` are those this process may use; `memory` respects a container's limit (bytes)."""

    system: str
    processor: str
    cores: int
    flags: frozenset[str]
    memory: int
    gpus: tuple[Gpu, ...]

    def record(self) -> dict[str, Any]:
        """As plain JSON, for the journal; of the CPU flags only those that change speed."""
        telling = sorted(self.flags & {"avx2", "avx512f", "avx512_bf16", "amx_bf16"})
        return {**asdict(self), "flags": telling}


def probe() -> Machine:
    """This machine, as it is now."""
    processor, flags = _processor(Path("/proc/cpuinfo"))
    return Machine(
        system=platform.platform(),
        processor=processor,
        cores=len(os.sched_getaffinity(0)),
        flags=flags,
        memory=_memory(),
        gpus=gpus(),
    )


def gpus() -> tuple[Gpu, ...]:
    """The NVIDIA GPUs that the driver reports and CUDA_VISIBLE_DEVICES does not hide."""
    if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1") or not shutil.which("nvidia-smi"):
        return ()
    try:
        done = subprocess.run(QUERY, capture_output=True, text=True, timeout=PATIENCE, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ()
    if done.returncode != 0:
        return ()
    found = tuple(_gpu(line) for line in done.stdout.splitlines() if line.count(",") >= 2)
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return found if visible is None else found[: len(visible.split(","))]


def _gpu(line: str) -> Gpu:
    name, memory, driver = (field.strip() for field in line.rsplit(",", 2))
    return Gpu(name, int(memory) * MIB if memory.isdigit() else 0, driver)


def _processor(path: Path) -> tuple[str, frozenset[str]]:
    name, flags = platform.machine(), frozenset[str]()
    if not path.exists():
        return name, flags
    for line in path.read_text("utf-8", "replace").splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            name = value.strip()
        if key.strip() in ("flags", "Features"):
            return name, frozenset(value.split())
    return name, flags


def _memory() -> int:
    """Bytes of memory, or of the container's limit where that is less."""
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = Path("/sys/fs/cgroup/memory.max")
    if limit.exists() and (text := limit.read_text().strip()).isdigit():
        return min(whole, int(text))
    return whole
