"""Several processes by torchrun, on this machine or on each of several."""

from __future__ import annotations

import sys

from tunelang.launch.launcher import Job, Launcher, each, unable
from tunelang.launch.machine import Machine
from tunelang.launch.rendezvous import Node, own_address
from tunelang.plan.ir import Step


def command(job: Job) -> list[str]:
    """`--standalone` picks a free port, so that two runs on one machine do not meet."""
    meeting = ["--standalone"] if job.node is None else _meeting(job.node, job.step.key)
    launch = ["-m", "torch.distributed.run", *meeting, f"--nproc-per-node={each(job.step)}"]
    return [sys.executable, *launch, "-m", *job.worker]


def _meeting(node: Node, key: str) -> list[str]:
    """How torchrun finds the others. Who listens is said, not guessed from names
    (torch/distributed/elastic/rendezvous/c10d_rendezvous_backend.py, `is_host`)."""
    return [
        f"--nnodes={node.count}",
        "--rdzv-backend=c10d",
        f"--rdzv-endpoint={node.host}:{node.port}",
        f"--rdzv-id={key}",
        f"--rdzv-conf=is_host={int(node.rank == 0)}",
        f"--local-addr={own_address(node)}",
    ]


def cannot(step: Step, machine: Machine) -> str | None:
    if step.import_from is not None:
        return "a model is converted by one process; the `local` launcher does that"
    return unable(step, machine)


LAUNCHER = Launcher("torchrun", command, cannot)
