"""Kubernetes: a TrainJob of Kubeflow Trainer v2 a step, over the runtime `torch-distributed`.

Jobs know no order among themselves, so the next is applied when those it needs are complete: by
the command that follows them, or by `run.sh`. Pods that fail are started again by the runtime's
Job (Kubernetes' `backoffLimit`, 6 unless the runtime says otherwise) and go on from the last
checkpoint. Volumes are laid in by `runtimePatches`, which Trainer has since 2.3.
"""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from tunelang.catalog.launchers import VOLUME
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
from tunelang.launch.scripts import HERE, title
from tunelang.launch.tool import call, hand_in
from tunelang.launch.yaml import dump
from tunelang.plan.ir import Plan, Step, Submit

API = "trainer.kubeflow.org/v1alpha1"
RUNTIME = "torch-distributed"
PLAN = "/plan"  # where pods see the plan
PATCH = "launch/plan.yaml"
# The runtime's torch plug-in tells each pod who it is (pkg/runtime/framework/plugins/torch); our
# torchrun is told the same by its options, and must not read it twice.
SCRIPT = """\
node=$PET_NODE_RANK
export TUNELANG_RENDEZVOUS="$PET_MASTER_ADDR:$PET_MASTER_PORT"
unset PET_NNODES PET_NPROC_PER_NODE PET_NODE_RANK PET_MASTER_ADDR PET_MASTER_PORT
"""


def files(plan: Plan) -> dict[str, str]:
    """`launch/plan.yaml`, `launch/NN-STAGE.yaml`, and `run.sh` that applies them in order."""
    sent = submits(plan)
    spaces = sorted({_namespace(submit) for _, submit in sent})
    made = {PATCH: "---\n".join(dump(_config(plan, space)) for space in spaces)}
    for number, (step, submit) in enumerate(sent, 1):
        made[file(number, step)] = title(plan, step) + dump(_job(plan, step, submit))
    return {**made, "run.sh": _run(plan)}


def file(number: int, step: Step) -> str:
    return numbered(number, step, "yaml")


def loop(command: str) -> str:
    """A shell script that tries a step again where its worker crashed."""
    return (
        f"attempt=0\nuntil {command}; do\n"
        f"  code=$?; attempt=$((attempt + 1))\n"
        f'  if [ "$code" -ne {RETRY} ] || [ "$attempt" -gt {ATTEMPTS} ]; then exit "$code"; fi\n'
        "done\n"
    )


def _namespace(submit: Submit) -> str:
    return str(submit.options.get("namespace") or "default")


def _plan_name(plan: Plan) -> str:
    return f"tunelang-plan-{hashlib.sha256(plan.model_dump_json().encode()).hexdigest()[:8]}"


def _config(plan: Plan, namespace: str) -> Mapping[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": _plan_name(plan), "namespace": namespace},
        "data": {"plan.json": plan.model_dump_json(indent=1) + "\n"},
    }


def _job(plan: Plan, step: Step, submit: Submit) -> Mapping[str, Any]:
    queue = submit.options.get("queue")
    labels = {"labels": {"kueue.x-k8s.io/queue-name": queue}} if queue else {}
    return {
        "apiVersion": API,
        "kind": "TrainJob",
        "metadata": {"name": job_name(step), "namespace": _namespace(submit), **labels},
        "spec": {
            "runtimeRef": {"apiGroup": "trainer.kubeflow.org", "name": RUNTIME},
            "trainer": _trainer(step, submit),
            "runtimePatches": [
                {"manager": "tunelang.io/launcher", "trainingRuntimeSpec": _volumes(plan, submit)}
            ],
        },
    }


def _trainer(step: Step, submit: Submit) -> Mapping[str, Any]:
    only = shlex.quote(step.name)
    command = f'python3 -m tunelang run {PLAN} --only {only} --plain --yes --node "$node"'
    place, memory = step.place, host_memory(step)
    asked = {
        "cpu": str(max(place.threads * each(step), 1)),
        **({"memory": f"{memory}Gi"} if memory else {}),
        **({"nvidia.com/gpu": str(place.gpus // place.nodes)} if place.gpus else {}),
    }
    return {
        "image": submit.options.get("image"),
        "command": ["sh", "-c", SCRIPT + loop(command)],
        "env": [{"name": "TUNELANG_HOME", "value": f"{VOLUME}/home"}],
        "numNodes": place.nodes,
        "numProcPerNode": each(step),
        "resourcesPerNode": {"requests": asked, "limits": asked},
    }


def _volumes(plan: Plan, submit: Submit) -> Mapping[str, Any]:
    """The shared volume and the plan in the pods; `node` is the runtime's name for job and
    container."""
    claim = {"claimName": submit.options.get("storage")}
    pod = {
        "containers": [
            {
                "name": "node",
                "volumeMounts": [
                    {"name": "tunelang", "mountPath": VOLUME},
                    {"name": "plan", "mountPath": PLAN, "readOnly": True},
                ],
            }
        ],
        "volumes": [
            {"name": "tunelang", "persistentVolumeClaim": claim},
            {"name": "plan", "configMap": {"name": _plan_name(plan)}},
        ],
    }
    job = {"name": "node", "template": {"spec": {"template": {"spec": pod}}}}
    return {"template": {"spec": {"replicatedJobs": [job]}}}


def _run(plan: Plan) -> str:
    """Applies each job and waits for it: the next one needs what it makes."""
    script = (
        "#!/bin/sh\n# Applies the stages in order; each is waited for.\n"
        f"set -eu\n{HERE.replace('/..', '')}kubectl apply --server-side -f {PATCH}\n"
        'state() { kubectl get "trainjob/$1" -n "$2" '
        "-o jsonpath='{.status.conditions[?(@.status==\"True\")].type}'; }\n"
        "follow() {\n"
        '  kubectl apply --server-side -f "$3"\n'
        '  until case "$(state "$1" "$2")" in *Complete*) true ;; *Failed*) exit 1 ;; '
        "*) false ;; esac; do sleep 10; done\n"
        "}\n"
    )
    for number, (step, submit) in enumerate(submits(plan), 1):
        name = shlex.quote(file(number, step))
        script += f"follow {job_name(step)} {_namespace(submit)} {name}\n"
    return script


def submit(order: Order) -> str:
    """An earlier job of the name, which has failed, makes way."""
    name, space = job_name(order.step), _space(order.step)
    for command in (
        ["kubectl", "delete", "trainjob", name, "-n", space, "--ignore-not-found"],
        ["kubectl", "apply", "--server-side", "-f", PATCH],
        ["kubectl", "apply", "--server-side", "-f", order.file],
    ):
        call(
            command,
            asked=hand_in(order.step),
            folder=order.folder,
            environment=order.environment,
        )
    return name


def states(steps: Sequence[Step]) -> dict[str, Status]:
    found: dict[str, Status] = {}
    for space in sorted({_space(step) for step in steps}):
        said = call(
            ["kubectl", "get", "trainjobs", "-n", space, "-o", "json"], asked="tell of its jobs"
        )
        found.update((job["metadata"]["name"], _status(job)) for job in json.loads(said)["items"])
    return found


def _space(step: Step) -> str:
    return _namespace(step.place.submit) if step.place.submit else "default"


def _status(job: Mapping[str, Any]) -> Status:
    status = job.get("status", {})
    true = {each["type"]: each for each in status.get("conditions", []) if each["status"] == "True"}
    active = any(each.get("active") for each in status.get("jobsStatus", []))
    word: Word = "running" if active else "waiting"
    text = word
    for kind, means in (("Suspended", "waiting"), ("Failed", "failed"), ("Complete", "ended")):
        if kind in true:
            word, text = means, f"{kind.lower()} ({true[kind].get('reason', '')})"  # type: ignore[assignment]
    return Status(job["metadata"]["name"], word, text)


def cancel(jobs: Sequence[tuple[Step, Status]]) -> list[str]:
    space = _space(jobs[0][0])
    return ["kubectl", "delete", "trainjob", "-n", space, *(status.id for _, status in jobs)]


SCHEDULER = Scheduler("kubernetes", False, files, file, submit, states, cancel)
