"""Slurm: a batch job a step, `afterok` for what it needs, requeued when a machine or worker fails.

Options are those of sbatch (slurm.schedmd.com/sbatch.html).
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence

from tunelang.launch.launcher import each, host_memory
from tunelang.launch.scheduler import (
    ATTEMPTS,
    RETRY,
    Order,
    Scheduler,
    Status,
    Word,
    job_name,
    numbered,
    submits,
)
from tunelang.launch.scripts import HERE, PYTHON, SETUP, only, title
from tunelang.launch.tool import call, hand_in
from tunelang.plan.ir import Plan, Step, Submit

WORDS: Mapping[str, Word] = {
    **dict.fromkeys(("PENDING", "REQUEUED", "REQUEUE_HOLD", "SUSPENDED", "CONFIGURING"), "waiting"),
    **dict.fromkeys(("RUNNING", "COMPLETING", "STAGE_OUT", "SIGNALING"), "running"),
    "COMPLETED": "ended",
}  # squeue's man page, JOB STATE CODES; all others are failures
NEVER = "DependencyNeverSatisfied"


def files(plan: Plan) -> dict[str, str]:
    """`launch/NN-STAGE.sbatch`, and `run.sh` that submits them all."""
    made = {
        file(number, step): _batch(plan, step, submit)
        for number, (step, submit) in enumerate(submits(plan), 1)
    }
    return {**made, "run.sh": _run(plan)}


def file(number: int, step: Step) -> str:
    return numbered(number, step, "sbatch")


def _batch(plan: Plan, step: Step, submit: Submit) -> str:
    asked = "".join(f"#SBATCH --{line}\n" for line in _options(step, submit.options))
    # Every machine of the job runs the same command and learns from Slurm which of them it is; the
    # exit code is the first one's, all others give 0.
    command = f'exec {only(step)} --yes --node "$SLURM_NODEID"'
    return (
        f"#!/bin/sh\n{title(plan, step)}{asked}"
        f'set -u\ncd "$SLURM_SUBMIT_DIR" || exit 1\n'
        ': "${TUNELANG_HOME:?must be a folder that all machines share}"\n'
        f"{SETUP}"
        'first=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)\n'
        'export TUNELANG_RENDEZVOUS="$first:$((20000 + SLURM_JOB_ID % 20000))"\n'
        "# srun takes no --cpus-per-task over from sbatch since Slurm 22.05.\n"
        f'srun --kill-on-bad-exit=1 --cpus-per-task="$SLURM_CPUS_PER_TASK" \\\n'
        f"  sh -c '{command}'\n"
        "code=$?\n"
        f"# {RETRY}: the worker crashed. 137: it was killed. A new attempt goes on from the last\n"
        "# checkpoint.\n"
        f'if [ "$code" -eq {RETRY} ] || [ "$code" -eq 137 ]; then\n'
        f'  [ "${{SLURM_RESTART_COUNT:-0}}" -ge {ATTEMPTS} ] || scontrol requeue "$SLURM_JOB_ID"\n'
        "fi\n"
        'exit "$code"\n'
    )


def _options(step: Step, options: Mapping[str, object]) -> list[str]:
    """What sbatch is asked for, one option a line."""
    place = step.place
    return [
        f"job-name={job_name(step)}",
        f"nodes={place.nodes}",
        "ntasks-per-node=1",
        f"cpus-per-task={max(place.threads * each(step), 1)}",
        *([f"gpus-per-node={place.gpus // place.nodes}"] if place.gpus else []),
        *([f"mem={memory}G"] if (memory := host_memory(step)) else []),
        *(
            f"{name}={options[name]}"
            for name in ("partition", "account", "qos")
            if _given(options, name)
        ),
        *([f"time={_clock(options['time'])}"] if _given(options, "time") else []),
        "requeue",
        "open-mode=append",
        f"output=logs/{job_name(step)}.log",
    ]


def _given(options: Mapping[str, object], name: str) -> bool:
    return options.get(name) is not None


def _clock(seconds: object) -> str:
    """Seconds as sbatch reads a limit: HOURS:MINUTES:SECONDS."""
    whole = math.ceil(float(str(seconds)))
    return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}"


def _run(plan: Plan) -> str:
    """Each job knows the ids of those it waits for."""
    script = (
        "#!/bin/sh\n# Submits every stage; each waits for those it needs, and ends with them.\n"
        f"set -eu\n{HERE.replace('/..', '')}mkdir -p logs\n"
        f"export TUNELANG_PYTHON={PYTHON}\n"
    )
    numbers = {step.name: number for number, step in enumerate(plan.steps, 1)}
    for number, step in enumerate(plan.steps, 1):
        waits = ":".join(f"${{job{numbers[name]}%%;*}}" for name in step.after)
        after = f'--kill-on-invalid-dep=yes --dependency="afterok:{waits}" ' if waits else ""
        name = shlex.quote(file(number, step))
        script += f"job{number}=$(sbatch --parsable {after}{name})\n"
        script += f'echo "{step.name}: ${{job{number}}}"\n'
    return script


def submit(order: Order) -> str:
    (order.folder / "logs").mkdir(exist_ok=True)
    after = ["--kill-on-invalid-dep=yes", f"--dependency=afterok:{':'.join(order.after)}"]
    command = ["sbatch", "--parsable", *(after if order.after else []), order.file]
    said = call(
        command,
        asked=hand_in(order.step),
        folder=order.folder,
        environment=order.environment,
    )
    return said.strip().partition(";")[0]


def states(steps: Sequence[Step]) -> dict[str, Status]:
    """The newest job of each name that Slurm still knows."""
    names = ",".join(map(job_name, steps))
    asked = ["squeue", "--me", "--noheader", "--states=all", f"--name={names}", "-o", "%i|%j|%T|%r"]
    lines = call(asked, asked="tell of its jobs").splitlines()
    rows = [line.strip().split("|") for line in lines if line.count("|") >= 3]
    newest = sorted(rows, key=lambda row: int(row[0]))
    return {row[1]: _status(*row[:4]) for row in newest}


def _status(number: str, _name: str, state: str, reason: str) -> Status:
    word = WORDS.get(state, "failed")
    if reason == NEVER:
        word = "failed"
    telling = f" ({reason})" if reason not in ("None", "") else ""
    return Status(number, word, f"{state.lower()}{telling}")


def cancel(jobs: Sequence[tuple[Step, Status]]) -> list[str]:
    return ["scancel", *(status.id for _, status in jobs)]


SCHEDULER = Scheduler("slurm", True, files, file, submit, states, cancel)
