"""Predicted memory against published runs: what tensors took, what nvidia-smi showed, what fitted.

The limits stand a little above what is reached; `python -m benchmarks.planner` prints the figures.
Models that no calibration row is of are the blind test.
"""

from __future__ import annotations

from itertools import product

import pytest

from benchmarks import accuracy, published
from tunelang.estimate import reserve
from tunelang.estimate.calibration import Calibration

GIB = 2**30

# Group -> median, nine in ten and worst.
ALLOCATED = {
    "fused loss or one GPU": (0.004, 0.015, 0.02),
    "sharded (FSDP), all logits": (0.003, 0.015, 0.018),
    "one GPU, blind models": (0.015, 0.06, 0.11),
    "sharded, blind models": (0.022, 0.075, 0.09),
}


def test_allocated_bytes() -> None:
    """Bytes of tensors of 172 runs: full, LoRA, QLoRA, one to four GPUs, five sets of versions."""
    found = {one.name: one for one in accuracy.memory_errors()}
    for name, limits in ALLOCATED.items():
        one = found[name]
        reached = (one.median, one.p90, one.worst)
        assert all(error < limit for error, limit in zip(reached, limits, strict=True)), one.name
    assert sum(len(one.signed) for one in found.values()) == 172


def test_no_run_that_fitted_is_refused() -> None:
    """The fullest of them held tensors of 94.5 % of its device."""
    assert accuracy.verdicts()["ran"]["no"] == 0


def test_runs_out_of_memory_are_refused_or_warned_of() -> None:
    """At least nine in ten of 84."""
    judged = accuracy.verdicts()["out of memory"]
    assert sum(judged.values()) == 84
    assert judged["no"] + judged["tight"] >= 0.9 * 84


def test_no_run_out_of_memory_was_planned_as_fitting() -> None:
    """What is accepted below 85 % ran: none of the 84 is."""
    assert accuracy.verdicts()["out of memory"]["yes"] == 0


def test_most_blind_runs_lie_in_the_band() -> None:
    """What nvidia-smi showed of other models, whose shares were not looked at."""
    inside, of = accuracy.within_band()
    assert inside / of > 0.75


@pytest.mark.parametrize(
    ("loss", "sharding", "whole"),
    list(product(("plain", "chunked"), ("none", "ddp", "fsdp2", "zero3"), (False, True))),
)
def test_a_band_is_in_order(loss: str, sharding: str, whole: bool) -> None:
    """least < low < middle < high, and more bytes need more."""
    devices = 1 if sharding == "none" else 8
    small, large = (
        reserve.reserved(size, loss=loss, sharding=sharding, devices=devices, trains_all=whole)
        for size in (10 * GIB, 20 * GIB)
    )
    assert small.least < small.low < small.middle < small.high
    assert small.middle < large.middle
    assert small.least == 10 * GIB


def test_verdicts_at_their_limits() -> None:
    """85 % of the middle is fine; tensors of more than 95 % are not; between them it is tight."""
    usable = 80.0 * GIB
    for middle, least, expected in (
        (0.84, 0.7, "yes"),
        (0.86, 0.7, "tight"),
        (1.20, 0.94, "tight"),
        (1.20, 0.96, "no"),
    ):
        band = reserve.Band(least * usable, middle * usable, middle * usable, middle * usable)
        assert reserve.fits(band, usable) == expected


def test_a_probe_moves_the_band() -> None:
    """A tenth either way of what three steps made of the middle."""
    band = reserve.reserved(10 * GIB)
    measured = Calibration("H100-80GB", "tunelang-0.1", "2026-11-25", time=1.0, reserved=1.2)
    moved = reserve.calibrated(band, measured)
    assert moved.middle == pytest.approx(1.2 * band.middle)
    assert moved.high / moved.middle == pytest.approx(1.1)
    assert reserve.calibrated(band, None) == band


def test_rows_are_read_as_their_conditions_say() -> None:
    """Versions by file, kernels and losses by column; and what is left out is named."""
    rows = {row["id"]: row for row in published.rows("memory_calibration")}
    assert published.stack(rows["c0009"]).name == "fms-4.48"
    assert published.stack(rows["c0141"]).name == "fms-4.45-foak"
    assert published.load(rows["c0141"]).loss == "fused"
    assert published.stack(rows["c0057"]).upcast and not published.stack(rows["c0058"]).upcast
    out = [row for row in rows.values() if accuracy.left_out(row)]
    assert len(out) == 41 + 16
