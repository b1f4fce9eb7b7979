"""A plan of three stages for each scheduler, and the golden folders of their files.

python -m tests.run.clusters      writes tests/run/golden/ anew
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

from tunelang.launch.folder import files
from tunelang.plan.ir import (
    Batch,
    DataFormat,
    DataPart,
    HubModel,
    HubSource,
    Mixture,
    Place,
    Plan,
    Step,
    StoreModel,
    Submit,
)

GOLDEN = Path(__file__).parent / "golden"
OPTIONS: dict[str, dict[str, Any]] = {
    "slurm": {"partition": "gpu", "account": "nlp", "qos": None, "time": 90_000.0},
    "kubernetes": {
        "image": "registry.example/tunelang:0.1",
        "storage": "models",
        "namespace": "team",
        "queue": "research",
    },
    "skypilot": {"cloud": "gcp", "region": "us-east4", "spot": True, "bucket": "gs://tunelang"},
}


def place(submit: Submit | None, **given: Any) -> Place:
    shape: dict[str, Any] = {
        "device": "cuda",
        "gpu": "H100-80GB",
        "gpus": 8,
        "processes": 8,
        "threads": 4,
        "micro": 2,
        "accumulate": 1,
        "checkpointing": True,
        "sharding": "zero3",
        "launcher": "torchrun",
        "submit": submit,
    }
    return Place(**{**shape, **given})


def plan(kind: str | None) -> Plan:
    """A base on one CPU, a reward model on 8 GPUs, a policy on as many of two machines; SkyPilot
    has one machine for it."""
    submit = Submit(kind=kind, options=OPTIONS[kind]) if kind else None
    two = {"nodes": 2, "gpus": 16, "processes": 16, "sharding": "fsdp2"}
    one = {"device": "cpu", "gpu": None, "gpus": 0, "processes": 1}
    base = place(None, **one, sharding="none", launcher="local")
    policy = place(submit, **({} if kind == "skypilot" else two))
    return Plan(
        recipe="chat.tune",
        profile=None,
        steps=[
            step("base", "1", base),
            step("judge", "2", place(submit), "base"),
            step("policy", "3", policy, "base", "judge"),
        ],
    )


def step(name: str, digit: str, at: Place, *after: str) -> Step:
    keys = {"base": "1", "judge": "2"}
    inputs = {f"model{number}": StoreModel(key=keys[one] * 32) for number, one in enumerate(after)}
    part = DataPart(
        name="talks",
        source=HubSource(id="a/talks", revision="c" * 40),
        format=DataFormat(kind="chat", columns={"messages": "messages"}),
        fingerprint="f" * 64,
    )
    return Step(
        name=name,
        method="sft",
        method_version=1,
        worker="tunelang.train.sft",
        key=digit * 32,
        product="lm",
        seed=7,
        precision="bf16",
        inputs=inputs or {"model": HubModel(id="a/b", revision="c" * 40)},
        data=Mixture(parts=[part]),
        batch=Batch(size=32, noun="sequences"),
        place=at,
        after=list(after),
    )


def main() -> None:
    shutil.rmtree(GOLDEN, ignore_errors=True)
    for kind in (None, *OPTIONS):
        for name, text in files(plan(kind)).items():
            if name == "launch/plan.yaml":  # the whole plan
                continue
            path = GOLDEN / (kind or "here") / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(re.sub(r"tunelang-plan-\w{8}", "tunelang-plan-HASH", text))


if __name__ == "__main__":
    main()
