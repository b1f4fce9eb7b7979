"""Slurm for real: a recipe through `--launcher slurm`, left, taken up again, killed and requeued.

`make test-cluster` installs Debian's Slurm where it is missing, and runs this as root.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from slurm import Slurm, missing

from tunelang.run.store import Store

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(bool(missing()), reason=f"Slurm cannot be started: {missing()}"),
]
ROOT = Path(__file__).parents[2]
RECIPE = ROOT / "recipes" / "tiny.tune"
LIMIT = 200.0  # seconds


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slurm]:
    one = Slurm(tmp_path_factory.mktemp("slurm"))
    try:
        one.start()
        yield one
    finally:
        one.stop()


def start(recipe: Path, home: Path, slurm: Slurm, *more: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tunelang", "run", str(recipe), "--plain", *more],
        cwd=ROOT,
        env={**slurm.environment, "TUNELANG_HOME": str(home)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def until(found: Callable[[], object]) -> None:
    end = time.monotonic() + LIMIT
    while not found():
        assert time.monotonic() < end
        time.sleep(0.05)


def jobs(slurm: Slurm) -> dict[str, tuple[str, str]]:
    """Id and state of each job by its stage; a second job of a stage would be a mistake."""
    rows = slurm.ask("squeue", "--noheader", "--states=all", "--format=%i %j %T").splitlines()
    found = [row.split() for row in rows]
    stages = {re.sub(r"tunelang-(.+)-\w{8}", r"\1", name): (id, state) for id, name, state in found}
    assert len(stages) == len(found)
    return stages


def state(slurm: Slurm, stage: str, known: set[str]) -> str:
    """The state of a stage's job, those `known` before left out."""
    rows = slurm.ask("squeue", "--noheader", "--states=all", "--format=%i %j %T").splitlines()
    new = [row.split() for row in rows if row.split()[0] not in known]
    return next(state for _, name, state in new if name.startswith(f"tunelang-{stage}-"))


def hasten(slurm: Slurm, stage: str) -> None:
    """Slurm lets two minutes pass before a job starts again; a test need not. Within a second of
    its end it must not start: its credential is still revoked on the machine."""
    until(lambda: jobs(slurm)[stage][1] == "PENDING")
    slurm.ask("scontrol", "update", f"JobId={jobs(slurm)[stage][0]}", "StartTime=now+5")


def worker(home: Path, stage: str) -> tuple[int, bool]:
    """The process id of a stage's worker, 0 while there is none, and whether it has trained."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().decode().split("\0")
        except OSError:
            continue
        if "tunelang.train" in words and words[-2] == str(home):
            step = Path(words[words.index("tunelang.train") + 1])
            if f'"name": "{stage}"' in step.read_text():
                events = step.with_name("events.jsonl")
                trained = events.exists() and '"checkpoint"' in events.read_text()
                return int(path.parent.name), trained
    return 0, False


def weights(home: Path) -> dict[str, str]:
    store = Store(home)
    kept = store.keys()
    return {
        f"{key}/{name}": file["sha256"]
        for key in kept
        for name, file in store.manifest(key)["files"].items()
        if name.endswith(".safetensors")
    }


def test_a_recipe_through_slurm(slurm: Slurm, tmp_path: Path) -> None:
    """Every stage is a job that waits for those it needs. Ctrl-C leaves the jobs to Slurm, and the
    same command follows them again. A worker that is killed with -9 has its job requeued, an
    administrator requeues another, and the weights are those of an undisturbed run here, to the
    last bit."""
    home = tmp_path / "home"
    first = start(RECIPE, home, slurm, "--launcher", "slurm")
    until(lambda: len(jobs(slurm)) == 5)
    time.sleep(1.0)
    first.send_signal(signal.SIGINT)
    told, _ = first.communicate(timeout=LIMIT)
    assert first.returncode == 130, told
    assert "go on: the same command follows them, `scancel" in told
    second = start(RECIPE, home, slurm, "--launcher", "slurm")
    until(lambda: worker(home, "domain")[1])
    os.kill(worker(home, "domain")[0], signal.SIGKILL)
    hasten(slurm, "domain")
    until(lambda: worker(home, "chat")[0])
    slurm.ask("scontrol", "requeue", jobs(slurm)["chat"][0])
    hasten(slurm, "chat")
    told, _ = second.communicate(timeout=LIMIT)
    assert second.returncode == 0, told
    assert re.search(r"domain +goes on from step \d", told), told
    done = jobs(slurm)
    assert {state for _, state in done.values()} == {"COMPLETED"}
    for stage, count in {"domain": 1, "chat": 1, "judge": 0}.items():
        assert f"Restarts={count}" in slurm.ask("scontrol", "show", "job", done[stage][0])
    here = start(RECIPE, tmp_path / "here", slurm)
    told, _ = here.communicate(timeout=LIMIT)
    assert here.returncode == 0, told
    assert weights(tmp_path / "here") == weights(home) != {}


def test_a_closed_gate_ends_what_needs_the_stage(slurm: Slurm, tmp_path: Path) -> None:
    """The job of a stage that does not pass its gate fails: Slurm never starts those that need it,
    and the command says which gate."""
    text = RECIPE.read_text().replace("loss < 6", "loss < 0.001")
    text = text.replace('"data/', f'"{RECIPE.parent}/data/').replace(
        "seed: int = 7", "seed: int = 8"
    )
    recipe = tmp_path / "gated.tune"
    recipe.write_text(text)
    known = {id for id, _ in jobs(slurm).values()}
    run = start(recipe, tmp_path / "home", slurm, "--launcher", "slurm")
    told, _ = run.communicate(timeout=LIMIT)
    assert run.returncode == 1
    assert "TL721" in told, told
    until(lambda: state(slurm, "chat", known) == "FAILED")
    until(lambda: state(slurm, "judge", known) == "CANCELLED")
    until(lambda: state(slurm, "policy", known) == "CANCELLED")
