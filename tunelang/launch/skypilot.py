"""SkyPilot: a managed job a step, on the cheapest cloud that has the GPUs; all share a bucket.

Managed jobs know no order among themselves, so the next is launched when those it needs have
succeeded: by the command that follows them, or as one pipeline by `run.sh`. A machine that is taken
away is replaced by SkyPilot, and the step goes on from its last checkpoint in the bucket. Fields
are those of SkyPilot's YAML (docs.skypilot.co/en/stable/reference/yaml-spec.html).
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from tunelang import __version__
from tunelang.catalog.launchers import VOLUME
from tunelang.launch.kubernetes import loop
from tunelang.launch.launcher import each, host_memory
from tunelang.launch.scheduler import (
    Order,
    Scheduler,
    Status,
    Word,
    job_name,
    numbered,
    submits,
)
from tunelang.launch.scripts import HERE, title
from tunelang.launch.tool import call, hand_in
from tunelang.launch.yaml import dump
from tunelang.plan.ir import Plan, Step, Submit
from tunelang.plan.reads import reads

PLAN = "/plan.json"
PIPELINE = "launch/pipeline.yaml"
WORDS: Mapping[str, Word] = {
    **dict.fromkeys(("PENDING", "SUBMITTED", "STARTING", "RECOVERING"), "waiting"),
    **dict.fromkeys(("RUNNING", "WINDING_DOWN", "CANCELLING"), "running"),
    "SUCCEEDED": "ended",
}  # sky/jobs/state.py, ManagedJobStatus of 0.14; all others are failures
# What SkyPilot calls a card, where not as the catalogue here without spaces (its own catalogues,
# column AcceleratorName; `sky gpus list` prints them).
CARDS = {
    "A100-40GB": "A100",
    "GH200-96GB": "GH200",
    "H100-80GB": "H100",
    "P100-16GB": "P100",
    "V100-16GB": "V100",
}


def files(plan: Plan) -> dict[str, str]:
    """`launch/NN-STAGE.yaml`, all of them as `launch/pipeline.yaml`, and `run.sh`."""
    made = {
        file(number, step): title(plan, step) + dump(_task(step, submit))
        for number, (step, submit) in enumerate(submits(plan), 1)
    }
    # A pipeline is a document with its name, then its tasks, which run one after another.
    pipeline = "---\n".join([dump({"name": _pipeline(plan)}), *made.values()])
    run = (
        "#!/bin/sh\n# Launches all stages as one pipeline: each starts when the last is done.\n"
        f"set -eu\n{HERE.replace('/..', '')}exec sky jobs launch --yes {PIPELINE}\n"
    )
    return {**made, PIPELINE: pipeline, "run.sh": run}


def file(number: int, step: Step) -> str:
    return numbered(number, step, "yaml")


def _pipeline(plan: Plan) -> str:
    return job_name(plan.steps[-1])


def _task(step: Step, submit: Submit) -> Mapping[str, Any]:
    command = f"python3 -m tunelang run {PLAN} --only {shlex.quote(step.name)} --plain --yes"
    extra = "train,deepspeed" if step.place.sharding.startswith("zero") else "train"
    return {
        "name": job_name(step),
        "resources": _resources(step, submit),
        "envs": {"TUNELANG_HOME": f"{VOLUME}/home"},
        "file_mounts": {
            # Cached: plain mounts of buckets can neither append nor rename.
            VOLUME: {"source": submit.options.get("bucket"), "mode": "MOUNT_CACHED"},
            PLAN: "plan.json",
            **{path: path for path in reads(step)},
        },
        "setup": f"python3 -m pip install --quiet 'tunelang[{extra}]=={__version__}'\n",
        "run": loop(command),
    }


def _resources(step: Step, submit: Submit) -> Mapping[str, Any]:
    place, memory, options = step.place, host_memory(step), submit.options
    where = "/".join(str(one) for one in (options.get("cloud"), options.get("region")) if one)
    return {
        **({"infra": where if options.get("cloud") else f"*/{where}"} if where else {}),
        **({"accelerators": f"{_card(place.gpu)}:{place.gpus}"} if place.gpu else {}),
        "cpus": f"{max(place.threads * each(step), 1)}+",
        **({"memory": f"{memory}+"} if memory else {}),
        **({"use_spot": True} if options.get("spot") else {}),
    }


def _card(gpu: str) -> str:
    return CARDS.get(gpu, gpu.replace(" ", ""))


def submit(order: Order) -> str:
    """Its number is told by the queue."""
    offline = order.environment.get("HF_HUB_OFFLINE")
    more = ["--env", f"HF_HUB_OFFLINE={offline}"] if offline else []
    name = job_name(order.step)
    call(
        ["sky", "jobs", "launch", "--yes", "--detach-run", "--name", name, *more, order.file],
        asked=hand_in(order.step),
        folder=order.folder,
        environment=order.environment,
    )
    return states([order.step])[name].id


def states(steps: Sequence[Step]) -> dict[str, Status]:
    said = call(["sky", "jobs", "queue", "--output", "json"], asked="tell of its jobs")
    rows = sorted(json.loads(said), key=lambda row: int(row["job_id"]))
    return {row["job_name"]: _status(row) for row in rows}


def _status(row: Mapping[str, Any]) -> Status:
    state = str(row["status"]).rpartition(".")[2]
    return Status(str(row["job_id"]), WORDS.get(state, "failed"), state.lower())


def cancel(jobs: Sequence[tuple[Step, Status]]) -> list[str]:
    return ["sky", "jobs", "cancel", *(status.id for _, status in jobs)]


SCHEDULER = Scheduler("skypilot", False, files, file, submit, states, cancel)
