"""A plan that is written: `--json`, and the folder of `-o` with its configurations and scripts."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tunelang.launch.folder import files as launch_files
from tunelang.plan import folder
from tunelang.plan.engine_config import accelerate_config, deepspeed_config, zero_stage
from tunelang.plan.findings import of_file
from tunelang.plan.ir import Plan, Step

ROOT = Path(__file__).parents[2]
LARGE, SMALL = ROOT / "recipes" / "llama-8b-rlhf.tune", ROOT / "recipes" / "tiny.tune"


@pytest.fixture(scope="module")
def large() -> Plan:
    plan = of_file(LARGE).plan
    assert plan
    return plan


def tunelang(*words: str, home: Path, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tunelang", *words]
    env = {**os.environ, "TUNELANG_HOME": str(home)}
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=env)


def test_json_is_the_plan_and_fits_the_schema(tmp_path: Path) -> None:
    """It reads back as the same plan, findings stay on stderr, and it is the same wherever the
    command is given, and however it names the recipe."""
    here = tunelang("plan", "--json", f"recipes/{LARGE.name}", home=tmp_path / "a")
    there = tunelang("plan", "--json", str(LARGE), home=tmp_path / "b", cwd=tmp_path)
    assert here.stdout == there.stdout and "TL211" in here.stderr
    gates = [gate for step in json.loads(here.stdout)["steps"] for gate in step["gates"]]
    assert {gate["place"].split(":")[0] for gate in gates} == {LARGE.name}
    plan = Plan.model_validate_json(here.stdout)
    assert plan.model_dump_json(indent=2) + "\n" == here.stdout
    assert str(tmp_path) not in here.stdout
    schema = json.loads((ROOT / "docs" / "plan.schema.json").read_text())
    told = json.loads(here.stdout)
    assert set(told) == set(schema["properties"])
    assert set(told["steps"][0]) == set(schema["$defs"]["Step"]["properties"])
    jsonschema = pytest.importorskip("jsonschema")
    jsonschema.validate(told, schema)


def written(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_the_folder_is_the_same_every_time(tmp_path: Path) -> None:
    """Two writes from other homes and folders: the same bytes. What an earlier plan left goes."""
    first, second = tmp_path / "one", tmp_path / "two"
    old = second / "steps" / "09-gone.json"
    old.parent.mkdir(parents=True)
    old.write_text("{}")
    (second / "notes.txt").write_text("mine")
    told = tunelang("plan", f"recipes/{LARGE.name}", "-o", str(first), home=tmp_path / "a")
    assert f"wrote {first}; `tunelang run {first}` carries it out" in told.stderr
    tunelang("plan", str(LARGE), "-o", str(second), home=tmp_path / "b", cwd=tmp_path)
    mine = written(second)
    assert mine.pop("notes.txt") == b"mine"
    assert written(first) == mine
    assert {"plan.json", "README.md", "run.sh", "steps/01-domain.json"} <= set(mine)
    assert os.access(first / "run.sh", os.X_OK)
    readme = mine["README.md"].decode()
    for name in mine:
        assert name == "README.md" or any(name.startswith(each) for each in folder.ABOUT), name
    assert all(f"`{each}`" in readme for each in ("plan.json", "steps/", "launch/"))


def test_the_command_that_is_told_can_be_pasted(tmp_path: Path) -> None:
    """Of a folder whose name has a space, or looks like an option."""
    for name, word in (("my plan", "'my plan'"), ("-o", "./-o")):
        told = tunelang("plan", str(SMALL), "-o", name, home=tmp_path / "home", cwd=tmp_path)
        assert f"`tunelang run {word}` carries it out" in told.stderr
        assert (tmp_path / name / "plan.json").is_file()


def test_a_folder_that_cannot_be_written_is_a_finding(tmp_path: Path) -> None:
    """A file stands where the folder would be."""
    (tmp_path / "out").write_text("mine")
    done = tunelang("plan", str(SMALL), "-o", str(tmp_path / "out"), home=tmp_path)
    assert done.returncode == 1 and "TL012" in done.stderr
    assert (tmp_path / "out").read_text() == "mine"


def test_configurations_say_what_the_place_says(large: Plan) -> None:
    """DeepSpeed's three counts multiply to the batch; only stages under ZeRO have a file."""
    texts = folder.files(large, launch_files(large))
    for number, step in enumerate(large.steps, 1):
        name = f"deepspeed/{number:02}-{step.name}.json"
        assert (name in texts) == bool(zero_stage(step.place))
        if name in texts:
            config = json.loads(texts[name])
            assert step.batch and config["train_batch_size"] == step.batch.size
            assert config["zero_optimization"]["stage"] == zero_stage(step.place)
            assert config == deepspeed_config(step)


def placed(step: Step, **place: object) -> Step:
    return step.model_copy(update={"place": step.place.model_copy(update=place)})


def test_offload_and_precision_reach_deepspeed(large: Plan) -> None:
    """The optimizer alone, or weights too under stage 3; fp32 leaves bf16 off."""
    step = large.steps[0]
    zero = deepspeed_config(placed(step, sharding="zero3", offload="all"))["zero_optimization"]
    assert zero["offload_param"]["device"] == zero["offload_optimizer"]["device"] == "cpu"
    zero = deepspeed_config(placed(step, sharding="zero2", offload="all"))["zero_optimization"]
    assert "offload_param" not in zero and "offload_optimizer" in zero
    assert deepspeed_config(step)["bf16"] == {"enabled": True}
    plain = step.model_copy(update={"precision": "fp32"})
    assert deepspeed_config(plain)["bf16"] == {"enabled": False}


def test_accelerate_reads_its_configurations(large: Plan, tmp_path: Path) -> None:
    """Its own loader takes each, with as many processes; it gets none that it would run as one
    process, and no precision beside DeepSpeed's file, which it refuses."""
    config_args = pytest.importorskip("accelerate.commands.config.config_args")
    step = large.steps[0]
    wanted = {"ddp": "MULTI_GPU", "zero2": "DEEPSPEED", "fsdp2": "FSDP"}
    for sharding, kind in wanted.items():
        told = accelerate_config(placed(step, sharding=sharding), "deepspeed/01-domain.json")
        assert told
        path = tmp_path / f"{sharding}.yaml"
        path.write_text(folder.yaml(told))
        read = config_args.load_config_from_file(str(path))
        assert read.distributed_type.value == kind
        assert read.num_processes == step.place.processes
        assert read.mixed_precision == (None if kind == "DEEPSPEED" else "bf16")
    alone = placed(step, device="cpu", gpus=0, gpu=None, sharding="ddp", processes=2)
    assert accelerate_config(alone) is None


def test_a_script_says_where_its_python_has_no_tunelang(large: Plan, tmp_path: Path) -> None:
    """As beside an environment that is not active; not Python's own "No module named"."""
    script = tmp_path / "launch" / "01-domain.sh"
    script.parent.mkdir()
    script.write_text(launch_files(large)["launch/01-domain.sh"])
    env = {**os.environ, "TUNELANG_PYTHON": "false"}
    done = subprocess.run(["sh", str(script)], capture_output=True, text=True, env=env)
    assert done.returncode == 1
    assert done.stderr == (
        "false has no TuneLang: activate its environment, or set TUNELANG_PYTHON\n"
    )


def test_scripts_are_sound_shell(large: Plan, tmp_path: Path) -> None:
    """`sh -n` reads each; shellcheck finds nothing, where it is installed."""
    for name, text in folder.files(large, launch_files(large)).items():
        if not name.endswith(".sh"):
            continue
        path = tmp_path / Path(name).name
        path.write_text(text)
        assert subprocess.run(["sh", "-n", path]).returncode == 0
        if shutil.which("shellcheck"):
            done = subprocess.run(
                ["shellcheck", "-e", "SC1090", path], capture_output=True, text=True
            )
            assert done.returncode == 0, done.stdout
