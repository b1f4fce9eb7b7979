"""`tunelang plan`: the screen, `--explain`, `--json` and the folder of `-o`."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tunelang.cli.plan import states
from tunelang.estimate.calibration import Calibration
from tunelang.estimate.ladder import excluded, ladder
from tunelang.launch.folder import files as launch_files
from tunelang.plan import folder
from tunelang.plan.engine_config import accelerate_config, deepspeed_config, zero_stage
from tunelang.plan.explain import explain, kinds
from tunelang.plan.figures import band, bar
from tunelang.plan.findings import Findings, of_file
from tunelang.plan.ir import Budget, Plan, Step
from tunelang.plan.show import State, show
from tunelang.recipe.overrides import Settings
from tunelang.run.calibrations import FOLDER, keep
from tunelang.run.store import Store, write_json

ROOT = Path(__file__).parents[2]
LARGE, SMALL = ROOT / "recipes" / "llama-8b-rlhf.tune", ROOT / "recipes" / "tiny.tune"
ESCAPES = re.compile(r"\x1b\[[0-9;]*m")


@pytest.fixture(scope="module")
def large() -> Findings:
    return of_file(LARGE)


@pytest.fixture(scope="module")
def small() -> Findings:
    return of_file(SMALL)


def made(found: Findings) -> Plan:
    assert found.plan, found.found
    return found.plan


def tunelang(*words: str, home: Path, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tunelang", *words]
    env = {**os.environ, "TUNELANG_HOME": str(home)}
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=env)


# --- the screen -----------------------------------------------------------------------------


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("recipe", ["large", "small"])
def test_no_line_is_wider_than_the_terminal(
    recipe: str, width: int, request: pytest.FixtureRequest
) -> None:
    """At 80 columns and at 120; and every stage has its row."""
    plan = made(request.getfixturevalue(recipe))
    lines = show(plan, width=width).splitlines()
    assert max(map(len, lines)) <= width
    for step in plan.steps:
        assert any(line.startswith(f"{step.name} ") for line in lines), step.name


def test_columns_stand_under_their_heads(large: Findings) -> None:
    """Memory, time and cost end where their heads end, in every row."""
    plan = made(large)
    lines = show(plan, width=100).splitlines()
    head = next(line for line in lines if line.startswith("stage"))
    ends = [head.index(word) + len(word) for word in ("memory", "time", "cost")]
    rows = [line for line in lines if any(line.startswith(f"{s.name} ") for s in plan.steps)]
    for row in rows:
        assert all(row[end - 1] != " " and (row + "  ")[end] == " " for end in ends), row


def test_a_row_says_how_the_batch_is_split(large: Findings) -> None:
    """micro × accumulation × GPUs is the batch that is shown."""
    plan = made(large)
    text = show(plan, width=100)
    for step in plan.steps:
        place = step.place
        assert step.batch
        assert place.micro * place.accumulate * place.processes == step.batch.size
        parts = [f"{place.micro}"] + ([f"{place.accumulate}"] if place.accumulate > 1 else [])
        assert f"of {step.batch.size} = {' × '.join(parts)} × {place.processes} GPUs" in text


def test_what_is_reused_and_why_the_rest_runs(small: Findings) -> None:
    """A reused step has no figures; another says its one reason; the totals count both."""
    states = {"seedling": State(reused=True), "chat": State(reason="lr 0.001 → 0.002")}
    lines = show(made(small), states, width=80).splitlines()
    assert "reused" in next(line for line in lines if line.startswith("seedling"))
    assert any(line.strip() == "runs: lr 0.001 → 0.002" for line in lines)
    assert any("4 to run, 1 reused" in line for line in lines)


def test_why_a_stage_runs_is_one_clause(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing near: no reason. Another rate: that. Only what it starts from differs: that runs."""
    monkeypatch.setenv("TUNELANG_HOME", str(tmp_path))
    old = made(of_file(SMALL))
    assert not any(each.reused or each.reason for each in states(old).values())
    shop = Store(tmp_path)
    for step in old.steps:
        product = tmp_path / "made" / step.name
        product.mkdir(parents=True)
        write_json(product / "step.json", step.model_dump(mode="json"))
        shop.publish(step.key, product, {})
    assert all(each.reused for each in states(old).values())
    changed = states(made(of_file(SMALL, Settings(sets={"domain.lr": "1e-4"}))))
    assert changed["seedling"].reused and not changed["domain"].reused
    assert changed["domain"].reason.startswith("lr ") and changed["domain"].reason.endswith(
        "0.0001"
    )
    assert changed["chat"].reason == "`domain`, which it starts from, runs"


def test_totals_stand_against_the_budget(large: Findings) -> None:
    """The limits are beside the totals, and what is over is named."""
    plan = made(large)
    kept = show(plan, width=100)
    assert "budget  kept" in kept and "of $6,000" in kept and "of 14 d" in kept
    poor = plan.model_copy(update={"budget": Budget(dollars=10.0, seconds=1e9)})
    assert "over in cost" in show(poor, width=100)
    short = plan.model_copy(update={"budget": Budget(seconds=60.0)})
    assert "over in time" in show(short, width=100)
    free = plan.model_copy(update={"budget": Budget()})
    assert "budget" not in show(free, width=100)


@pytest.mark.parametrize(("share", "code"), [(0.5, "32"), (0.9, "33"), (0.97, "31")])
def test_the_bar_has_the_colour_of_the_verdict(large: Findings, share: float, code: str) -> None:
    """Green below 85 %, yellow to 95 %, red above; without colour the text is the same."""
    plan = made(large)
    first = plan.steps[0]
    assert first.estimate
    peak = int(share * first.estimate.usable)
    estimate = first.estimate.model_copy(update={"peak": peak})
    step = first.model_copy(update={"estimate": estimate})
    one = plan.model_copy(update={"steps": [step]})
    painted = show(one, width=100, colour=True)
    assert f"\x1b[{code}m{bar(share, 12)}" in painted
    assert ESCAPES.sub("", painted) == show(one, width=100)


def test_a_column_without_entries_has_no_head(large: Findings, small: Findings) -> None:
    """Nothing costs where the recipe names no price."""
    assert "cost" in show(made(large)) and "cost" not in show(made(small))


def test_bars_and_bands() -> None:
    """Eighths of a cell; a unit is said once where both ends have it."""
    assert [bar(share, 4) for share in (0, 0.5, 0.53, 1, 2)] == [
        "░░░░",
        "██░░",
        "██▏░",
        "████",
        "████",
    ]
    assert band(6.4 * 3600, 11.6 * 3600) == "6.4–11.6 h"
    assert band(4.1, 4.3) == "4 s"
    assert band(3000, 7200) == "50 min–2.0 h"


def test_what_was_measured_is_named_and_counts(tmp_path: Path, large: Findings) -> None:
    """A calibration twice as slow doubles the time of updates, and the plan rests on it."""
    found = of_file(
        LARGE, None, {"H100-80GB": Calibration("H100-80GB", "torch", "2026-11-25", 2.0, 1.0)}
    )
    before, after = made(large).steps[0].estimate, made(found).steps[0].estimate
    assert before and after
    assert after.seconds == pytest.approx(2 * before.seconds, rel=0.01)
    text = show(made(found), width=100)
    assert "rests on the calibration of H100-80GB, 3 steps, 2026-11-25" in text


# --- explain --------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [80, 120])
def test_explain_shows_choices_ladder_and_memory(large: Findings, width: int) -> None:
    """The layout taken comes first, each kind of layout once, and terms add up to the peak."""
    step = made(large).steps[0]
    tried = ladder(*large.works[step.name])
    text = explain(step, tried, excluded(*large.works[step.name]), width=width)
    lines = text.splitlines()
    assert max(map(len, lines)) <= width
    rungs = [line for line in lines if line[:2] in ("→ ", "  ", "! ", "✗ ") and " × " in line]
    assert rungs[0].startswith("→ ") and sum(line.startswith("→") for line in rungs) == 1
    assert len(rungs) == len(kinds(tried))
    assert step.estimate
    for phase in step.estimate.phases:
        assert re.search(rf"^  {phase} +█", text, re.MULTILINE), phase
    assert sum(step.estimate.terms.values()) == pytest.approx(step.estimate.allocated, rel=0.01)
    assert all(reason.split()[0] in text for reason in step.place.reasons)


def test_an_unknown_stage_is_a_finding(tmp_path: Path) -> None:
    """With the name that was probably meant; nothing else is printed."""
    done = tunelang("plan", str(SMALL), "--explain", "chatt", home=tmp_path)
    assert done.returncode == 1 and done.stdout == ""
    assert "TL101" in done.stderr and "did you mean `chat`?" in done.stderr


# --- JSON -----------------------------------------------------------------------------------


def test_json_is_the_plan_and_fits_the_schema(tmp_path: Path) -> None:
    """It reads back as the same plan, findings stay on stderr, and it is the same anywhere."""
    here = tunelang("plan", "--json", str(LARGE), home=tmp_path / "a")
    there = tunelang("plan", "--json", str(LARGE), home=tmp_path / "b", cwd=tmp_path)
    assert here.stdout == there.stdout and "TL211" in here.stderr
    plan = Plan.model_validate_json(here.stdout)
    assert plan.model_dump_json(indent=2) + "\n" == here.stdout
    assert str(tmp_path) not in here.stdout
    schema = json.loads((ROOT / "docs" / "plan.schema.json").read_text())
    told = json.loads(here.stdout)
    assert set(told) == set(schema["properties"])
    assert set(told["steps"][0]) == set(schema["$defs"]["Step"]["properties"])
    jsonschema = pytest.importorskip("jsonschema")
    jsonschema.validate(told, schema)


# --- the folder -----------------------------------------------------------------------------


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
    tunelang("plan", str(LARGE), "-o", str(first), home=tmp_path / "a")
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


def test_a_folder_that_cannot_be_written_is_a_finding(tmp_path: Path) -> None:
    """A file stands where the folder would be."""
    (tmp_path / "out").write_text("mine")
    done = tunelang("plan", str(SMALL), "-o", str(tmp_path / "out"), home=tmp_path)
    assert done.returncode == 1 and "TL012" in done.stderr
    assert (tmp_path / "out").read_text() == "mine"


def test_configurations_say_what_the_place_says(large: Findings) -> None:
    """DeepSpeed's three counts multiply to the batch; only stages under ZeRO have a file."""
    plan = made(large)
    texts = folder.files(plan, launch_files(plan))
    for number, step in enumerate(plan.steps, 1):
        name = f"deepspeed/{number:02}-{step.name}.json"
        assert (name in texts) == bool(zero_stage(step.place))
        if name in texts:
            config = json.loads(texts[name])
            assert step.batch and config["train_batch_size"] == step.batch.size
            assert config["zero_optimization"]["stage"] == zero_stage(step.place)
            assert config == deepspeed_config(step)


def placed(step: Step, **place: object) -> Step:
    return step.model_copy(update={"place": step.place.model_copy(update=place)})


def test_offload_and_precision_reach_deepspeed(large: Findings) -> None:
    """The optimizer alone, or weights too under stage 3; fp32 leaves bf16 off."""
    step = made(large).steps[0]
    zero = deepspeed_config(placed(step, sharding="zero3", offload="all"))["zero_optimization"]
    assert zero["offload_param"]["device"] == zero["offload_optimizer"]["device"] == "cpu"
    zero = deepspeed_config(placed(step, sharding="zero2", offload="all"))["zero_optimization"]
    assert "offload_param" not in zero and "offload_optimizer" in zero
    assert deepspeed_config(step)["bf16"] == {"enabled": True}
    plain = step.model_copy(update={"precision": "fp32"})
    assert deepspeed_config(plain)["bf16"] == {"enabled": False}


def test_accelerate_reads_its_configurations(large: Findings, tmp_path: Path) -> None:
    """Its own loader takes each, with as many processes; it gets none that it would run as one
    process, and no precision beside DeepSpeed's file, which it refuses."""
    config_args = pytest.importorskip("accelerate.commands.config.config_args")
    step = made(large).steps[0]
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


def test_scripts_are_sound_shell(large: Findings, tmp_path: Path) -> None:
    """`sh -n` reads each; shellcheck finds nothing, where it is installed."""
    plan = made(large)
    for name, text in folder.files(plan, launch_files(plan)).items():
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


def test_a_calibration_in_the_home_is_used(tmp_path: Path) -> None:
    """The command finds what `probe` kept; a file that holds none changes nothing."""
    keep(tmp_path, Calibration("H100-80GB", "torch", "2026-11-25", 1.5, 1.0))
    (tmp_path / FOLDER / "broken.json").write_text("{")
    done = tunelang("plan", str(LARGE), home=tmp_path)
    assert "rests on the calibration of H100-80GB, 3 steps, 2026-11-25" in done.stdout
