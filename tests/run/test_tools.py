"""What schedulers are asked, word for word, and how their answers are understood."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.run.clusters import plan
from tunelang.launch import kubernetes, skypilot, slurm
from tunelang.launch.folder import submitted
from tunelang.launch.scheduler import Order, Refused, Status, job_name

LOG = """#!/bin/sh
echo "$(basename "$0") $*" >> {log}
[ ! -f {answer} ] || cat {answer}
[ ! -f {complaint} ] || {{ cat {complaint} >&2; exit 1; }}
"""


class Tools:
    """Programs that write down what they are asked, and say what a test lets them say."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log, self.answer = folder / "log", folder / "answer"
        self.complaint = folder / "complaint"
        for name in ("sbatch", "squeue", "kubectl", "sky"):
            text = LOG.format(log=self.log, answer=self.answer, complaint=self.complaint)
            (folder / name).write_text(text)
            (folder / name).chmod(0o755)

    @property
    def asked(self) -> list[str]:
        return self.log.read_text().splitlines()


@pytest.fixture
def tools(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return Tools(tmp_path)


def order(kind, folder, after=()):
    step = submitted(plan(kind), kind).steps[1]
    environment = {"PATH": f"{folder}:/usr/bin:/bin"}
    return Order(step, folder, "launch/02-judge.yaml", after, environment)


def test_slurm_is_asked(tools):
    """The id is what sbatch prints before the cluster's name; the newest job of a name counts."""
    tools.answer.write_text("17;cluster\n")
    assert slurm.submit(order("slurm", tools.folder, ("4", "5"))) == "17"
    step = plan("slurm").steps[1]
    name = job_name(step)
    tools.answer.write_text(
        f"9|{name}|FAILED|NonZeroExitCode\n17|{name}|PENDING|Priority\n"
        f"18|{job_name(plan('slurm').steps[2])}|PENDING|DependencyNeverSatisfied\n"
    )
    found = slurm.states(plan("slurm").steps[1:])
    assert found[name] == Status("17", "waiting", "pending (Priority)")
    assert found[job_name(plan("slurm").steps[2])].word == "failed"
    assert tools.asked == [
        "sbatch --parsable --kill-on-invalid-dep=yes --dependency=afterok:4:5 launch/02-judge.yaml",
        "squeue --me --noheader --states=all "
        "--name=tunelang-judge-22222222,tunelang-policy-33333333 -o %i|%j|%T|%r",
    ]
    assert slurm.cancel([(step, found[name])]) == ["scancel", "17"]


@pytest.mark.parametrize(
    ("state", "word"),
    [
        ("RUNNING", "running"),
        ("COMPLETING", "running"),
        ("REQUEUED", "waiting"),
        ("COMPLETED", "ended"),
        ("NODE_FAIL", "failed"),
        ("TIMEOUT", "failed"),
        ("OUT_OF_MEMORY", "failed"),
    ],
)
def test_states_of_slurm(tools, state, word):
    """What Slurm does not go on with by itself has failed."""
    step = plan("slurm").steps[0]
    tools.answer.write_text(f"1|{job_name(step)}|{state}|None\n")
    assert slurm.states([step])[job_name(step)] == Status("1", word, state.lower())


def test_kubernetes_is_asked(tools):
    """An old job of the name makes way, then plan and job are applied, all in the namespace."""
    one = order("kubernetes", tools.folder)
    assert kubernetes.submit(one) == "tunelang-judge-22222222"
    assert tools.asked == [
        "kubectl delete trainjob tunelang-judge-22222222 -n team --ignore-not-found",
        "kubectl apply --server-side -f launch/plan.yaml",
        "kubectl apply --server-side -f launch/02-judge.yaml",
    ]
    status = Status("tunelang-judge-22222222", "running", "running")
    assert kubernetes.cancel([(one.step, status)])[:5] == [
        *("kubectl", "delete", "trainjob", "-n", "team")
    ]


def condition(kind, status="True"):
    return {"type": kind, "status": status, "reason": "Why"}


@pytest.mark.parametrize(
    ("status", "word", "text"),
    [
        ({}, "waiting", "waiting"),
        ({"conditions": [condition("Suspended")]}, "waiting", "suspended (Why)"),
        ({"jobsStatus": [{"name": "node", "active": 2}]}, "running", "running"),
        ({"conditions": [condition("Suspended", "False"), condition("Complete")]}, "ended", None),
        ({"conditions": [condition("Failed")], "jobsStatus": [{"active": 1}]}, "failed", None),
    ],
)
def test_states_of_kubernetes(tools, status, word, text):
    """Only a condition that is true counts, and the last word is whether it is over."""
    step = submitted(plan("kubernetes"), "kubernetes").steps[1]
    items = [{"metadata": {"name": job_name(step)}, "status": status}]
    tools.answer.write_text(json.dumps({"items": items}))
    found = kubernetes.states([step])[job_name(step)]
    assert found.word == word
    assert text is None or found.text == text
    assert tools.asked == ["kubectl get trainjobs -n team -o json"]


def test_skypilot_is_asked(tools):
    """The job is launched under its name, and its number is what the queue tells."""
    one = order("skypilot", tools.folder)
    rows = [
        {"job_id": 3, "job_name": job_name(one.step), "status": "FAILED"},
        {"job_id": 8, "job_name": job_name(one.step), "status": "ManagedJobStatus.RECOVERING"},
    ]
    tools.answer.write_text(json.dumps(rows))
    assert skypilot.submit(one) == "8"
    found = skypilot.states([one.step])[job_name(one.step)]
    assert found == Status("8", "waiting", "recovering")
    assert skypilot.cancel([(one.step, found)]) == ["sky", "jobs", "cancel", "8"]
    assert tools.asked[:2] == [
        "sky jobs launch --yes --detach-run --name tunelang-judge-22222222 launch/02-judge.yaml",
        "sky jobs queue --output json",
    ]


def test_a_complaint_is_told(tools):
    """TL727 with what the scheduler says, of a job and of a question."""
    tools.complaint.write_text("sbatch: error: invalid partition specified: gpu\n")
    with pytest.raises(Refused) as told:
        slurm.submit(order("slurm", tools.folder))
    assert told.value.diagnostic.code == "TL727"
    assert "stage `judge`: sbatch: error: invalid partition" in told.value.diagnostic.message
    with pytest.raises(Refused):
        slurm.states(plan("slurm").steps)
