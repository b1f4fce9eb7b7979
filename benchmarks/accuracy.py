"""Errors of the planner against published and executed steps, by group: what planner.py prints.

An error is predicted over measured, less one. Fits are judged as a plan judges them.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import median
from typing import Any

from benchmarks import published
from benchmarks.published import DATA, GIB, Row, rows
from tunelang.estimate import reserve
from tunelang.estimate.memory import memory
from tunelang.estimate.reserve import Band, Fits
from tunelang.estimate.time import GPU_BAND, update_seconds


@dataclass(frozen=True)
class Errors:
    """Signed errors of one group of rows."""

    name: str
    signed: tuple[float, ...]

    @property
    def sizes(self) -> list[float]:
        return sorted(map(abs, self.signed))

    @property
    def median(self) -> float:
        return median(self.sizes)

    @property
    def p90(self) -> float:
        return self.sizes[int(0.9 * len(self.signed))]

    @property
    def worst(self) -> float:
        return self.sizes[-1]

    @property
    def bias(self) -> float:
        return median(self.signed)


def planned(row: Row) -> bool:
    """Whether the planner knows a row's model and conditions; `left_out` says why not."""
    return not left_out(row)


def left_out(row: Row) -> str:
    if row["stack"] == "moe_other":
        return "kernels that shard experts, rows of unstated length, nvidia-smi alone"
    if row["model"] == "santacoder":
        return "gpt_bigcode, which the planner does not know: learned positions, a loss of its own"
    return ""


def memory_rows() -> list[Row]:
    return [row for row in rows("memory_calibration") if planned(row)]


def stated(row: Row) -> float | None:
    """Bytes that the run's tensors took."""
    return float(row["peak_gb_reported"]) * GIB if row["peak_gb_reported"] else None


def allocated(row: Row) -> float:
    return memory(published.load(row)).allocated


def band(row: Row, tensors: float) -> Band:
    """What its device must have for so many bytes of tensors."""
    return reserve.reserved(
        tensors,
        loss="fused" if row["loss_impl"] == "liger" else "plain",
        sharding="none" if row["gpus"] == "1" else "fsdp1",
        devices=int(row["gpus"]),
        trains_all=row["method"] == "full",
    )


def verdict(row: Row) -> Fits:
    gpu = published.machine(row).gpu
    assert gpu
    return reserve.fits(band(row, allocated(row)), gpu.usable)


def memory_group(row: Row) -> str:
    """As the goals are set: fused losses and one GPU, sharded ones, and the blind models apart."""
    if published.blind(row):
        return "sharded, blind models" if row["gpus"] != "1" else "one GPU, blind models"
    if row["loss_impl"] == "liger" or row["gpus"] == "1":
        return "fused loss or one GPU"
    return "sharded (FSDP), all logits"


def grouped(
    every: list[Row], group: Callable[[Row], str], error: Callable[[Row], float]
) -> list[Errors]:
    """Errors by group, in the order in which groups first appear."""
    found: dict[str, list[float]] = {}
    for row in every:
        found.setdefault(group(row), []).append(error(row))
    return [Errors(name, tuple(errors)) for name, errors in sorted(found.items())]


def memory_errors(group: Callable[[Row], str] = memory_group) -> list[Errors]:
    """Allocated bytes of every run that states them."""
    return grouped(
        [row for row in memory_rows() if stated(row)],
        group,
        lambda row: allocated(row) / (stated(row) or 1.0) - 1,
    )


FULL = 72 * GIB  # beyond which nvidia-smi shows that a card is full, not what a run needs


def shown() -> list[tuple[Row, float, float]]:
    """Runs that left their card room: what tensors took and what nvidia-smi showed, both stated."""
    every = [(row, stated(row), published.reserved(row)) for row in memory_rows()]
    return [(row, took, smi) for row, took, smi in every if took and smi and smi < FULL]


def reserved_errors() -> list[Errors]:
    """The middle of what a device must have for the tensors stated, against nvidia-smi."""
    found: dict[str, list[float]] = {}
    for row, took, smi in shown():
        loss = "pieces of logits" if row["loss_impl"] == "liger" else "all logits"
        where = "one GPU" if row["gpus"] == "1" else "FSDP"
        models = ", blind models" if published.blind(row) else ""
        found.setdefault(f"{loss}, {where}{models}", []).append(band(row, took).middle / smi - 1)
    return [Errors(name, tuple(errors)) for name, errors in sorted(found.items())]


def within_band() -> tuple[int, int]:
    """How many of the runs of blind models lie in the band, and of how many."""
    inside = [
        band(row, took).low <= smi <= band(row, took).high
        for row, took, smi in shown()
        if published.blind(row)
    ]
    return sum(inside), len(inside)


def verdicts() -> dict[str, Counter[str]]:
    """How runs that fitted and runs that did not were judged."""
    found = {"ran": Counter[str](), "out of memory": Counter[str]()}
    for row in memory_rows():
        found["out of memory" if "OOM" in row["remarks"] else "ran"][verdict(row)] += 1
    return found


def time_rows() -> list[Row]:
    every = [*rows("throughput_calibration"), *memory_rows()]
    return [row for row in every if published.tokens_per_second(row)]


def speed(row: Row) -> float:
    """Tokens a second of one device, predicted."""
    laid, work = published.layout(row), published.work(row)
    tokens = laid.micro * laid.accumulate * work.mean_length
    return tokens / update_seconds(work, published.machine(row), laid)


def time_group(row: Row) -> str:
    card = published.CARDS.get(row["gpu"], row["gpu"])
    if row["stack"] == "mosaic":
        return f"{card}, full, MPT"
    kernels = "eager" if row["loss_impl"] == "hf4" else "fused kernels"
    prepared = ", fp32 after k-bit preparation" if row["stack"] == "hf4_kbitprep" else ""
    mixture = ", mixture" if "Mixtral" in row["model"] else ""
    return f"{card}, {row['method']}, {kernels}{prepared}{mixture}"


def time_errors() -> list[Errors]:
    return grouped(
        time_rows(),
        time_group,
        lambda row: speed(row) / (published.tokens_per_second(row) or 1.0) - 1,
    )


def within_time_band() -> tuple[int, int]:
    """How many runs took what the band says, and of how many."""
    low, high = GPU_BAND
    every = [one for group in time_errors() for one in group.signed]
    return sum(low <= 1 + one <= high for one in every), len(every)


def golden() -> Iterator[tuple[dict[str, Any], float]]:
    """Steps executed on meta tensors (tests/data/memory_golden.json) and their errors."""
    from tests.estimate.test_memory import load

    for row in json.loads((DATA / "memory_golden.json").read_text()):
        yield row, memory(load(row)).allocated / row["peak"] - 1


def oracle() -> list[Errors]:
    """Steps of our own trainer executed on meta tensors (tests/data/oracle.json), by kind."""
    from tests.oracle.compared import grouped as measured

    found: dict[str, list[float]] = {}
    for kind, error in measured():
        found.setdefault(f"our own trainer, {kind}", []).append(error)
    return [Errors(name, tuple(errors)) for name, errors in found.items()]
