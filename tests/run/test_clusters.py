"""The files of the schedulers: byte for byte, and held against what the schedulers accept."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from tests.run.clusters import GOLDEN, OPTIONS, plan
from tunelang.catalog.launchers import scheduler_cannot
from tunelang.launch.folder import files
from tunelang.launch.scheduler import job_name
from tunelang.launch.yaml import dump
from tunelang.plan.ir import FilesSource, FolderModel
from tunelang.plan.reads import reads

SCHEMAS = Path(__file__).parents[1] / "data" / "schemas"
PLAN = "launch/plan.yaml"  # holds the whole plan, whose form is not what is tested here


def steady(text: str) -> str:
    """Without the hash of the plan's content."""
    return re.sub(r"tunelang-plan-\w{8}", "tunelang-plan-HASH", text)


@pytest.mark.parametrize("kind", ["here", *OPTIONS])
def test_files_are_golden(kind: str) -> None:
    """Every file of every scheduler, and no other; the same plan gives the same bytes."""
    made = files(plan(None if kind == "here" else kind))
    assert made == files(plan(None if kind == "here" else kind))
    folder = GOLDEN / kind
    kept = {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}
    assert made.keys() - {PLAN} == kept.keys()
    for name, path in kept.items():
        assert steady(made[name]) == path.read_text(), name


@pytest.mark.parametrize("kind", ["here", *OPTIONS])
def test_scripts_are_of_any_shell(kind: str) -> None:
    """Every script, those inside YAML too, is read without an error by `sh -n`."""
    made = files(plan(None if kind == "here" else kind))
    scripts = [text for name, text in made.items() if not name.endswith(".yaml")]
    for text in (text for name, text in made.items() if name.endswith(".yaml") and name != PLAN):
        for document in filter(None, yaml.safe_load_all(text)):
            trainer = document.get("spec", {}).get("trainer", {})
            scripts += [document.get("run", ""), document.get("setup", "")]
            scripts += trainer.get("command", [])[2:]
    assert len(scripts) > 3
    for script in scripts:
        subprocess.run(["sh", "-n"], input=script, text=True, check=True)
        if shutil.which("shellcheck"):
            subprocess.run(
                ["shellcheck", "-s", "sh", "-e", "SC1090,SC2016", "-"],
                input=script,
                text=True,
                check=True,
            )


def test_train_jobs_are_what_kubeflow_accepts() -> None:
    """Each job validates against Trainer's own models, where an unknown field is an error; the plan
    that pods read is the plan."""
    schema = json.loads((SCHEMAS / "trainjob-2.3.0.json").read_text())
    validator = Draft202012Validator(schema)
    made = files(plan("kubernetes"))
    jobs = {name: yaml.safe_load(text) for name, text in made.items() if "/0" in name}
    assert len(jobs) == 3
    for job in jobs.values():
        assert [error.message for error in validator.iter_errors(job)] == []
        assert len(job["metadata"]["name"]) <= 40
    patch = jobs["launch/01-base.yaml"]["spec"]["runtimePatches"][0]
    patch["trainingRuntimeSpec"]["template"]["spec"]["replicatedJob"] = []
    assert list(validator.iter_errors(jobs["launch/01-base.yaml"]))
    config = yaml.safe_load(made[PLAN])
    assert json.loads(config["data"]["plan.json"]) == plan("kubernetes").model_dump(mode="json")


def test_tasks_are_what_skypilot_accepts() -> None:
    """Each task validates against the three schemas that SkyPilot checks a YAML with."""
    schemas = json.loads((SCHEMAS / "skypilot-0.14.1.json").read_text())
    made = files(plan("skypilot"))
    tasks = list(yaml.safe_load_all(made["launch/pipeline.yaml"]))
    assert tasks[0] == {"name": job_name(plan("skypilot").steps[-1])}
    assert [task["name"].split("-")[1] for task in tasks[1:]] == ["base", "judge", "policy"]
    for task in tasks:
        assert wrong(schemas["task"], task) == []
        assert wrong(schemas["resources"], task.get("resources", {})) == []
        for mount in task.get("file_mounts", {}).values():
            assert isinstance(mount, str) or wrong(schemas["storage"], mount) == []
    assert wrong(schemas["resources"], {"acelerators": "H100:8"})


def wrong(schema: Any, value: Any) -> list[str]:
    return [error.message for error in Draft202012Validator(schema).iter_errors(value)]


@pytest.mark.parametrize(
    "value",
    [
        {"plain": "abc", "no": "no", "number": "8", "colon": "a: b", "empty": "", "null": None},
        {"list": ["a", {"b": 1, "c": {"d": [True, "x y"]}}], "none": [], "also": {}},
        {"text": "one\n  two\n\nthree\n", "half": "one\ntwo", "indented": "  one\n", "hash": "#a"},
        {"quote": 'say "so"', "tilde": "~", "date": "2026-11-25", "octal": "0o7", "dash": "-c"},
    ],
)
def test_what_is_written_is_read_back(value: dict[str, Any]) -> None:
    """A YAML library reads the values that were given, whatever they look like."""
    assert yaml.safe_load(dump(value)) == value


def test_names_of_jobs_are_names_everywhere() -> None:
    """Lower case and dashes, short enough for a job of jobs, and told apart by their keys."""
    (base, *_) = plan(None).steps
    long = base.model_copy(update={"name": "Chat_of_" + "x" * 60 + ".expert_scores"})
    assert re.fullmatch(r"[a-z]([-a-z0-9]{0,38}[a-z0-9])?", job_name(long))
    other = long.model_copy(update={"key": "9" * 32})
    assert job_name(long) != job_name(other)


def test_files_of_this_machine_are_known() -> None:
    """Data of every use, folders of models and what a tokenizer is trained on; SkyPilot brings them
    along, and Kubernetes refuses those that do not lie on its volume."""
    (base, judge, _) = plan("skypilot").steps
    local = judge.data.parts[0].model_copy(update={"source": FilesSource(paths=["/d/b", "/d/a"])})
    there = local.model_copy(update={"source": FilesSource(paths=["/tunelang/d/a"])})
    model = FolderModel(path="/m", fingerprint="f")
    step = judge.model_copy(update={"general": local, "inputs": {"model": model}})
    assert reads(base) == []
    assert reads(step) == ["/d/a", "/d/b", "/m"]
    sent = plan("skypilot").model_copy(update={"steps": [step]})
    task = yaml.safe_load(files(sent)["launch/01-judge.yaml"])
    assert task["file_mounts"].items() >= {"/d/a": "/d/a", "/m": "/m"}.items()
    facts = {"options": OPTIONS["kubernetes"], "nodes": 1, "starter": "torchrun"}
    assert "do not see `/d/a`" in scheduler_cannot("kubernetes", reads=reads(step), **facts)
    held = judge.model_copy(update={"general": there})
    assert scheduler_cannot("kubernetes", reads=reads(held), **facts) is None
