"""One process a GPU on this machine, by torchrun; ZeRO goes through accelerate in the worker."""

from __future__ import annotations

import sys
from importlib.util import find_spec

from tunelang.launch.launcher import Job, Launcher, lacks_gpus
from tunelang.launch.machine import Machine
from tunelang.plan.ir import Step


def command(job: Job) -> list[str]:
    """`--standalone` picks a free port, so that two runs on one machine do not meet."""
    count = max(job.step.place.gpus, 1)
    launch = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={count}"]
    return [sys.executable, *launch, "-m", *job.worker]


def cannot(step: Step, machine: Machine) -> str | None:
    if step.import_from is not None:
        return "a model is converted by one process; the `local` launcher does that"
    if step.place.sharding.startswith("zero") and find_spec("deepspeed") is None:
        return f"{step.place.sharding} needs DeepSpeed: pip install 'tunelang[deepspeed]'"
    return lacks_gpus(step, machine)


LAUNCHER = Launcher("torchrun", command, cannot)
