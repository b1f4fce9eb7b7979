"""Three steps on the machine at hand in a worker of their own, and what they say of its plans."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from tunelang.diagnostic import error
from tunelang.errors import UserError
from tunelang.estimate import scratch
from tunelang.estimate.calibration import Calibration
from tunelang.estimate.config import from_config
from tunelang.estimate.layout import Layout
from tunelang.estimate.machine import Machine
from tunelang.estimate.needs import need
from tunelang.estimate.parameters import Architecture
from tunelang.estimate.time import operations, update_seconds
from tunelang.estimate.work import Work
from tunelang.launch.environment import QUIET, STEADY

STEPS = 3
PATIENCE = 1800  # seconds; a laptop's CPU takes one of them
GIB = 2**30
# Models whose products keep the device busy, and that take seconds: 16 million weights on a CPU, a
# half and a tenth of a billion on GPUs of more and of less than 20 GiB.
SHAPES: dict[str, dict[str, int]] = {
    "cpu": {"hidden": 384, "layers": 6, "heads": 6, "ffn": 1024, "vocabulary": 8192},
    "small": {"hidden": 1024, "layers": 6, "heads": 16, "ffn": 2816, "vocabulary": 32000},
    "large": {"hidden": 2048, "layers": 8, "heads": 16, "ffn": 5632, "vocabulary": 32000},
}
ROWS = {"cpu": (4, 256), "small": (4, 1024), "large": (8, 2048)}  # rows at once, tokens of each
ROOMY = 20 * GIB


@dataclass(frozen=True)
class Probe:
    """What is measured: an update of `micro` rows of `length` tokens that trains every weight."""

    config: dict[str, Any]
    architecture: Architecture
    machine: Machine
    micro: int
    length: int
    precision: str

    @property
    def device(self) -> str:
        """By its name in the catalogue."""
        return self.machine.gpu.name if self.machine.gpu else "cpu"

    @property
    def work(self) -> Work:
        return Work(
            architecture=self.architecture,
            method="domain_adaptation",
            weights="full",
            kind="full",
            rank=0,
            targets="all_linear",
            batch=self.micro,
            length=self.length,
            mean_length=self.length,
            precision=self.precision,
            steps=1,
        )

    @property
    def layout(self) -> Layout:
        return Layout(micro=self.micro, loss="chunked")


@dataclass(frozen=True)
class Measured:
    """`seconds` of every update; bytes of the device in all, and of tensors where they are known.

    `predicted` are the same two by the formulas, without any earlier calibration.
    """

    probe: Probe
    seconds: tuple[float, ...]
    device: int
    allocated: int | None
    reserved: int | None
    stack: str
    predicted: tuple[float, int]

    @property
    def flops(self) -> float:
        """Operations a second in the middle update."""
        done = operations(self.probe.work, self.probe.layout)
        return (done.products + done.attention) / median(self.seconds)

    @property
    def time(self) -> float:
        """Measured over predicted seconds."""
        return median(self.seconds) / self.predicted[0]

    @property
    def memory(self) -> float:
        """Measured over predicted bytes of the device."""
        return self.device / self.predicted[1]


def usual(machine: Machine, precision: str) -> Probe:
    """The model that suits the device."""
    size = "cpu" if machine.gpu is None else "large" if machine.usable > ROOMY else "small"
    micro, length = ROWS[size]
    shape = {**SHAPES[size], "kv_heads": SHAPES[size]["heads"], "positions": length}
    config = scratch.config("llama", shape)
    known = from_config(config, f"{size} llama")
    assert known
    return Probe(config, known, _bare(machine), micro, length, precision)


def of_model(
    config: dict[str, Any], architecture: Architecture, machine: Machine, precision: str
) -> Probe:
    """A model that somebody means to train, one row of 512 tokens at once, with random weights."""
    length = min(512, architecture.positions or 512)
    return Probe(config, architecture, _bare(machine), 1, length, precision)


def _bare(machine: Machine) -> Machine:
    return replace(machine, count=1, nodes=1, calibration=None)


def measure(probe: Probe) -> Measured:
    """Run the worker. Raises `UserError`: TL701 for a model that does not fit, TL723 for a worker
    that fails."""
    needed = need(probe.work, probe.machine, probe.layout)
    if needed.fits == "no":
        size = f"{needed.peak / GIB:.1f} of {probe.machine.usable / GIB:.1f} GiB"
        message = f"three steps of `{probe.architecture.name}` take {size}"
        raise UserError(error("TL701", "does-not-fit", message, None, help="probe a smaller one"))
    answer = _answer(probe)
    return Measured(
        probe=probe,
        seconds=tuple(answer["seconds"]),
        device=answer["device"],
        allocated=answer["allocated"],
        reserved=answer["reserved"],
        stack=answer["stack"],
        predicted=(
            update_seconds(probe.work, probe.machine, probe.layout),
            int(needed.peak),
        ),
    )


def _answer(probe: Probe) -> dict[str, Any]:
    spec = {
        "config": probe.config,
        "device": "cuda" if probe.machine.gpu else "cpu",
        "precision": probe.precision,
        "micro": probe.micro,
        "length": probe.length,
        "steps": STEPS,
    }
    with TemporaryDirectory() as folder:
        asked, told = Path(folder) / "spec.json", Path(folder) / "answer.json"
        asked.write_text(json.dumps(spec), "utf-8")
        command = [sys.executable, "-m", "tunelang.train.probe", str(asked), str(told)]
        done = subprocess.run(
            command,
            env=_environment(probe.machine),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        if done.returncode != 0 or not told.is_file():
            raise UserError(_failed(done.stderr))
        answer: dict[str, Any] = json.loads(told.read_text("utf-8"))
        return answer


def _environment(machine: Machine) -> dict[str, str]:
    """As a stage's worker has it: quiet, offline, as many threads as cores."""
    threads = str(machine.cores)
    ours = {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads, "HF_HUB_OFFLINE": "1"}
    return {**os.environ, **QUIET, **STEADY, **ours}


def _failed(said: str) -> Any:
    last = next((line for line in reversed(said.splitlines()) if line.strip()), "it said nothing")
    return error("TL723", "worker-crashed", f"the probe ended early: {last.strip()}", None)


def calibration(every: Sequence[Measured], date: str) -> Calibration:
    """What plans of this device are multiplied by: the geometric mean of what was measured."""
    first = every[0]
    return Calibration(
        device=first.probe.device,
        stack=first.stack,
        date=date,
        time=_mean([each.time for each in every]),
        reserved=_mean([each.memory for each in every]),
        steps=STEPS * len(every),
    )


def _mean(factors: Sequence[float]) -> float:
    return math.exp(sum(math.log(each) for each in factors) / len(factors))
