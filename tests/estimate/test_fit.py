"""How a step is laid out: found quickly whatever the batch is, the fastest that fits, and told."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tunelang.catalog import gpus, models
from tunelang.estimate.config import from_config
from tunelang.estimate.fit import ALIKE, Tried, best, fit, tried
from tunelang.estimate.ladder import excluded, ladder
from tunelang.estimate.layout import Layout
from tunelang.estimate.machine import Machine
from tunelang.estimate.memory import Memory
from tunelang.estimate.needs import Need
from tunelang.estimate.parameters import Architecture
from tunelang.estimate.remedies import remedies
from tunelang.estimate.reserve import Band, Fits
from tunelang.estimate.ways import layouts, micros
from tunelang.estimate.work import Work

CARD = Machine("gpu", None, 1, 80 * 2**30, 79 * 2**30, 1, None, bf16=True)
PROCESSOR = Machine("cpu", None, 1, 8 * 2**30, 8 * 2**30, 2, None, bf16=False)
TINY = Architecture("tiny", 64, 2, 4, 4, 16, 128, 512, 256, tied=False)


def work(batch: int, length: int = 512) -> Work:
    return Work(TINY, "sft", "full", 0, "all_linear", batch, length, length, "bf16", 10)


@pytest.mark.parametrize(
    ("batch", "found"),
    [(12, [12, 6, 4, 3, 2, 1]), (256, [64, 32, 16, 8, 4, 2, 1]), (67, [1]), (2**60, [64, 32])],
)
def test_micro_batches_divide_the_batch(batch: int, found: list[int]) -> None:
    """Divisors up to 64, largest first; a batch of 10^18 rows, a slip of the pen, takes no time."""
    assert micros(work(batch), CARD, 1)[: len(found)] == found


def test_logits_are_computed_once_where_that_is_worth_their_memory() -> None:
    """A small model with a large vocabulary and adapters gains 6 %; Llama 3.1 8B gains less than
    what layouts are told apart by, and a smaller card has no room."""
    config = models.config("Qwen/Qwen2.5-0.5B")
    assert config
    shape = from_config(config, "qwen")
    assert shape
    size: dict[str, Any] = {"weights": "lora", "rank": 16, "length": 512, "mean_length": 512}
    small = llama(**size, architecture=shape)
    assert chosen(small, cards("A100-80GB")).loss == "plain"
    assert chosen(llama(**size), cards("A100-80GB")).loss == "chunked"
    assert chosen(replace(small, micro=16), cards("RTX 4090")).loss == "chunked"


def chosen(work: Work, machine: Machine) -> Layout:
    found = fit(work, machine)
    assert found
    return found.layout


def test_a_processor_gains_nothing_beyond_2048_tokens() -> None:
    """Four rows of 512 tokens, then fewer; one row where that alone is longer."""
    assert micros(work(2**60), PROCESSOR, 1) == [4, 2, 1]
    assert micros(work(12, length=4096), PROCESSOR, 1) == [1]


def llama(**changed: Any) -> Work:
    """Full tuning of Llama 3.1 8B, 128 rows of 2048 tokens, unless `changed` says otherwise."""
    config = models.config("meta-llama/Llama-3.1-8B")
    assert config
    found = from_config(config, "llama")
    assert found
    plain = Work(found, "sft", "full", 0, "all_linear", 128, 2048, 2048, "bf16", 100)
    return replace(plain, **changed)


def cards(name: str, count: int = 1, nodes: int = 1, host: int | None = None) -> Machine:
    gpu = gpus.find(name)
    assert gpu
    return Machine(
        "gpu", gpu, count, gpu.memory, gpu.usable, 1, 2.0, gpu.bf16, nodes=nodes, host=host
    )


def test_the_choice_is_the_fastest_that_fits() -> None:
    """No layout that fits is faster by more than what counts as alike; a simpler one is slower."""
    every = tried(llama(), cards("H100-80GB", 8))
    found = best(every)
    fitting = [one for one in every if one.need.fits == "yes"]
    assert found in fitting
    assert all(found.seconds <= one.seconds * (1 + ALIKE) for one in fitting)
    before = fitting[: fitting.index(found)]
    least = min(one.seconds for one in fitting)
    assert all(one.seconds > least * (1 + ALIKE) for one in before)


def test_a_simpler_layout_is_taken_only_where_it_is_about_as_fast() -> None:
    """6 % slower loses, 4 % slower wins; only what fits counts, else what needs least."""

    def one(seconds: float, verdict: Fits, peak: float = 1.0) -> Tried:
        band = Band(peak, peak, peak, peak)
        return Tried(Layout(1), Need(Memory({}, {"end": peak}, "end"), band, verdict), seconds)

    slow, near, fast = one(106, "yes"), one(104, "yes"), one(100, "yes")
    assert best((slow, near, fast)) is near
    assert best((one(1, "no"), one(1, "tight"), slow)) is slow
    tight = one(200, "tight")
    assert best((one(1, "no"), tight)) is tight
    small = one(300, "no", 2.0)
    assert best((one(1, "no", 3.0), small)) is small


def test_the_ladder_has_every_layout_with_one_reason() -> None:
    """The chosen first, then those that fit, tight ones, and those that do not, by memory."""
    work, machine = llama(), cards("H100-80GB", 8)
    found = ladder(work, machine)
    assert len(found) == len(list(layouts(work, machine)))
    assert [one.chosen for one in found].count(True) == 1 and found[0].chosen
    verdicts = [one.verdict for one in found]
    assert verdicts == sorted(verdicts, key=("yes", "tight", "no").index)
    refused = [one.peak for one in found if one.verdict == "no"]
    assert refused and refused == sorted(refused)
    assert all(one.reason for one in found)
    short = next(one for one in found if one.verdict == "no")
    spare = 0.85 * machine.usable
    assert short.reason == f"short by {(short.peak - spare) / 2**30:.1f} GiB"


def test_memory_beside_the_devices_counts_too() -> None:
    """Full tuning of 8B waits beside one card in 512 GB; in 64 GB it has no room, and what is told
    is what the card would need without."""
    work = llama()
    large = fit(work, cards("A100-80GB", host=512 * 10**9))
    small = fit(work, cards("A100-80GB", host=64 * 10**9))
    without = fit(work, cards("A100-80GB"))
    assert large and small and without
    assert large.fits == "yes" and large.layout.offload != "none"
    assert 0 < large.estimate.host <= 0.85 * 512 * 10**9
    assert (small.fits, small.estimate.peak) == ("no", without.estimate.peak)
    said = [one.reason for one in ladder(work, cards("A100-80GB", host=64 * 10**9))]
    assert any("beside the devices" in reason for reason in said)


def test_what_is_not_tried_is_said() -> None:
    """Ways that 4-bit weights have not, memory that nobody named, and what the recipe fixes."""
    work = llama(weights="qlora", kind="qlora", rank=8, micro=2)
    said = "\n".join(excluded(work, cards("H100-80GB", 8)))
    assert "fsdp2, zero3: not for sft with qlora weights" in said
    assert "`host_memory` of the hardware is not known" in said
    assert "the recipe says micro = 2" in said


@pytest.mark.parametrize(
    ("changed", "machine", "fields"),
    [
        ({"weights": "lora", "rank": 16, "length": 4096}, ("RTX 4090", 1), ("length", "weights")),
        ({}, ("RTX 4090", 1), ("weights", "count", "gpu")),
        ({"micro": 64, "recompute": True}, ("H100-80GB", 8), ("micro",)),
        ({"recompute": False, "length": 8192, "micro": 1}, ("H100-80GB", 8), ("checkpointing",)),
    ],
)
def test_remedies_are_the_smallest_changes_that_fit(
    changed: dict[str, Any], machine: tuple[str, int], fields: tuple[str, ...]
) -> None:
    """In the order of how little they change; each fits, or it would not be named."""
    found = remedies(llama(**changed), cards(*machine))
    named = [one.field for one in found]
    assert [one for one in named if one in fields] == list(fields), named
    usable = cards(*machine).usable
    assert all(one.fits for one in found)
    assert all(one.peak <= 0.85 * usable for one in found if one.field != "gpu")


@pytest.mark.parametrize("written", [20000, 16384, 13000, 12000, 10048])
def test_the_length_proposed_is_the_longest_that_fits(written: int) -> None:
    """A multiple of 64; with 64 tokens more it does not fit."""
    size = {"length": written, "mean_length": written}
    work, card = llama(weights="lora", rank=16, **size), cards("RTX 4090")
    too_long = fit(work, card)
    assert too_long and too_long.fits != "yes"
    (length,) = [one.value for one in remedies(work, card) if one.field == "length"]
    assert isinstance(length, int) and length % 64 == 0
    shorter = fit(replace(work, length=length, mean_length=length), card)
    longer = fit(replace(work, length=length + 64, mean_length=length + 64), card)
    assert shorter and longer
    assert (shorter.fits, longer.fits != "yes") == ("yes", True)


def test_a_stage_in_one_process_has_a_whole_cpu() -> None:
    """Two processes have half of memory and cores each; a stage that cannot be shared has all."""
    box = Machine("cpu", None, 2, 2**34, 2**34, 4, None, bf16=True)
    shared = fit(llama(batch=2, length=64, mean_length=64), box)
    alone = fit(llama(method="transfer", batch=2, length=64, mean_length=64), box)
    assert shared and alone
    assert (shared.layout.devices, shared.threads, shared.estimate.usable) == (2, 4, 2**34)
    assert (alone.layout.devices, alone.threads, alone.estimate.usable) == (1, 8, 2**35)
