"""`tunelang probe`: what is measured, what is kept, and what later plans make of it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from tunelang.cli import PLAIN
from tunelang.cli.probe import probe
from tunelang.errors import UserError
from tunelang.estimate.calibration import Calibration
from tunelang.estimate.machine import machine_here
from tunelang.estimate.time import update_seconds
from tunelang.plan.findings import of_file
from tunelang.run import calibrations, probing
from tunelang.run.probing import Measured, calibration, measure, usual

ROOT = Path(__file__).parents[2]
TINY = {"hidden": 64, "layers": 2, "heads": 4, "ffn": 128, "vocabulary": 512}
KEPT = Calibration("cpu", "torch 2.13.0", "2026-11-25", 2.0, 0.8, 6)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TUNELANG_HOME", str(tmp_path))
    return tmp_path


def run(*words: str) -> tuple[int, str, str]:
    app = typer.Typer(**PLAIN)
    app.command()(probe)
    done = CliRunner().invoke(app, list(words))
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.stdout, done.stderr


def test_three_steps_are_measured_and_later_plans_rest_on_them(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a real worker on this machine. The factor is what makes the formula's time the measured
    one, and a plan for this machine names the calibration."""
    pytest.importorskip("torch")
    if machine_here().gpu:
        pytest.skip("the CPU is measured here")
    monkeypatch.setitem(probing.SHAPES, "cpu", TINY)
    monkeypatch.setitem(probing.ROWS, "cpu", (2, 64))
    monkeypatch.setattr("tunelang.cli.probe._precisions", lambda _: ("fp32",))
    code, out, err = run("--json")
    assert code == 0, err
    told = json.loads(out)
    (one,) = told["measured"]
    assert len(one["seconds"]) == 3 and all(each > 0 for each in one["seconds"])
    assert 100e6 < one["device_bytes"] < 4e9
    kept = calibrations.known(home)["cpu"]
    assert kept.steps == 3 and kept.date == told["calibration"]["date"]
    bare = usual(machine_here(), "fp32")
    predicted = update_seconds(bare.work, bare.machine, bare.layout)
    assert kept.time * predicted == pytest.approx(sorted(one["seconds"])[1])
    found = of_file(ROOT / "recipes" / "tiny.tune", None, calibrations.known(home))
    assert found.plan
    basis = {step.estimate.basis for step in found.plan.steps if step.estimate}
    assert basis == {f"the calibration of cpu, 3 steps, {kept.date}"}


def test_the_factor_brings_a_plan_to_what_was_measured() -> None:
    """Two precisions took twice and eight times the formula's time: four times, by the geometric
    mean, and so much longer is every update of a plan for such a machine."""
    here = usual(machine_here(), "fp32")
    found = [
        Measured(here, (9.0, slow, 1.0), 50, None, None, "torch", (1.0, 100)) for slow in (2.0, 8.0)
    ]
    made = calibration(found, "2026-11-25")
    assert made.time == pytest.approx(4.0) and made.reserved == pytest.approx(0.5)
    assert made.steps == 6
    machine = replace(here.machine, calibration=made)
    before, after = (
        update_seconds(here.work, each, here.layout) for each in (here.machine, machine)
    )
    assert after == pytest.approx(4 * before)


def test_what_is_kept_is_listed_and_forgotten(home: Path) -> None:
    """A line a device; forgetting removes it; an unknown name is told with what was meant."""
    assert "no device was probed" in run("--list")[1]
    calibrations.keep(home, KEPT)
    code, out, _ = run("--list")
    assert code == 0 and out.startswith("cpu: time × 2.00, memory × 0.80; 6 steps, 2026-11-25")
    assert json.loads(run("--list", "--json")[1])[0]["device"] == "cpu"
    code, _, err = run("--forget", "cpus")
    assert code == 1 and "TL101" in err and "did you mean `cpu`?" in err
    assert run("--forget", "cpu")[1] == "forgotten: cpu\n"
    assert calibrations.known(home) == {}


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"device": "cpu"}', json.dumps({**KEPT.__dict__, "time": 0})]
)
def test_a_damaged_record_is_no_calibration(home: Path, text: str) -> None:
    """Half a file, another shape, a factor of nothing: plans rest on formulas."""
    path = calibrations.keep(home, KEPT)
    assert calibrations.known(home)["cpu"] == KEPT
    path.write_text(text)
    assert calibrations.known(home) == {}


def test_a_model_that_does_not_fit_is_not_started() -> None:
    """With what it would take; the worker never runs."""
    from tunelang.plan.named import Named, named

    found = named("Qwen/Qwen2.5-72B")
    assert isinstance(found, Named)
    asked = probing.of_model(found.config, found.architecture, machine_here(), "fp32")
    with pytest.raises(UserError) as problem:
        measure(asked)
    assert problem.value.diagnostic.code == "TL701"


def test_an_unknown_model_and_a_worker_that_ends_early(monkeypatch: pytest.MonkeyPatch) -> None:
    """Findings, with the last thing the worker said."""
    code, _, err = run("--model", "Qwen/Qwen2.5-7BB")
    assert code == 1 and "TL101" in err
    monkeypatch.setattr(probing.sys, "executable", "/bin/false")
    code, _, err = run()
    assert code == 1 and "TL723" in err
