"""How the work of a step is shared by several processes; one file an engine."""

from __future__ import annotations

from tunelang.plan.ir import Step
from tunelang.train.engines.engine import Engine
from tunelang.train.engines.single import Single
from tunelang.train.job import Job, fail

WHOLE = ("none", "ddp")  # engines whose processes hold all weights


def of(step: Step, job: Job) -> Engine:
    """The engine that the step's place names; ZeRO alone needs DeepSpeed."""
    sharding = step.place.sharding
    if job.world == 1 and sharding in ("none", "ddp"):
        return Single()
    if sharding == "ddp":
        from tunelang.train.engines.ddp import Ddp

        return Ddp()
    if sharding == "fsdp2":
        from tunelang.train.engines.fsdp2 import Fsdp2

        return Fsdp2(step.place, step.precision)
    if sharding == "none":
        fail("TL714", "backend-cannot", f"`{step.name}` has {job.world} processes and no sharding")
    return by_deepspeed(step)


def by_deepspeed(step: Step) -> Engine:
    """DeepSpeed's engine; without the library it is told what to install."""
    try:
        from tunelang.train.engines.zero import Zero
    except ModuleNotFoundError as missing:
        if missing.name != "deepspeed":
            raise
        message = f"`{step.place.sharding}` needs the package `deepspeed`"
        fail("TL715", "training-not-installed", message, "pip install 'tunelang[deepspeed]'")
    return Zero(step)


def check(job: Job, engine: Engine, processes: int) -> None:
    """What was planned is what runs: the layout of every weight, and how many share it."""
    faults = engine.faults()
    if engine.world != processes:
        faults.append(f"{engine.world} processes run, and {processes} are planned")
    trouble = (f"{engine.name} is not what was planned: {'; '.join(faults[:3])}", "")
    job.check("engine-as-planned", engine.world, not faults, trouble)
