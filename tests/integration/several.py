"""`several.py HOME RANK:ITERATION KEY...`: steps one after the other in the processes of one group.

Each is run as the worker runs it. In the last step the process of that rank ends itself by SIGKILL
in the midst of an iteration (`-` for nobody). Importing torch takes longer than the steps do.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from dataclasses import replace
from importlib import import_module
from pathlib import Path

from tunelang.plan.ir import Step
from tunelang.train import __main__ as worker
from tunelang.train import machine
from tunelang.train.engines import group


def main() -> None:
    home, dies, keys = Path(sys.argv[1]), sys.argv[2], sys.argv[3:]
    sys.modules["bitsandbytes"] = None  # type: ignore[assignment]  # as the worker does
    group.start("cpu")
    for key in keys:
        step = Step.model_validate_json((home / f"{key}.json").read_text("utf-8"))
        if dies != "-" and key == keys[-1]:
            mortal(*map(int, dies.split(":")), step)
        job = worker.open_job(step, home)
        job = replace(job, resume=group.gathered(job.resume)[0])
        machine.prepare(step, job)
        import_module(step.worker).run(step, job)


def mortal(rank: int, iteration: int, step: Step) -> None:
    """End this process, if it is the one, after the first update of an iteration (from 1)."""
    optimise = import_module("tunelang.train.optimise")
    plain, rollout, seen = optimise.update, step.fields["rollout"], 0
    units = 2 if step.method == "ppo" else 1
    last = ((iteration - 1) * rollout["epochs"] * rollout["minibatches"] + 1) * units

    def dying(*given: object) -> None:
        nonlocal seen
        seen += 1
        if seen > last and int(os.environ["RANK"]) == rank:
            os.kill(os.getpid(), signal.SIGKILL)
        plain(*given)

    optimise.update = dying  # type: ignore[attr-defined]


if __name__ == "__main__":
    try:
        main()
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)
    os._exit(0)
