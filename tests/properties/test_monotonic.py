"""What must never get worse does not: more memory, more devices, shorter rows, fewer micro-batches.

A prediction that breaks one of these is wrong somewhere, whatever else it agrees with. Models,
methods, machines and constraints are drawn at random.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tunelang.catalog import gpus, models
from tunelang.estimate.config import from_config
from tunelang.estimate.fit import fit, tried
from tunelang.estimate.machine import Machine
from tunelang.estimate.needs import need, used
from tunelang.estimate.parameters import Architecture
from tunelang.estimate.work import Work

NAMES = ("Qwen/Qwen2.5-0.5B", "meta-llama/Llama-3.1-8B", "google/gemma-2-2b")
MIXED = "allenai/OLMoE-1B-7B-0924"
RANK = {"no": 0, "tight": 1, "yes": 2}
EXACT = 1 - 1e-9  # sums of floating-point numbers in another order


def shape(name: str) -> Architecture:
    found = from_config(models.config(name) or {}, name)
    assert found
    return found


SHAPES = [shape(name) for name in (*NAMES, MIXED)]
CARDS = [card for name in gpus.names() if (card := gpus.find(name))]


@st.composite
def works(draw: st.DrawFn) -> Work:
    """A stage of any kind, with what a recipe may fix of how it runs."""

    def pick(*words: Any) -> Any:
        return draw(st.sampled_from(words))

    method = pick("domain_adaptation", "instruction_tuning", "reward_modeling", "dpo", "ppo")
    kind = pick("full", "full", "lora", "qlora", "layers")
    policy, adapter, long = method == "ppo", kind in ("lora", "qlora"), pick(64, 512, 4096)
    return Work(
        architecture=pick(*SHAPES),
        method=method,
        weights="full" if kind == "layers" else kind,
        kind=kind,
        rank=8 if adapter else 0,
        targets="all_linear",
        last=2 if kind == "layers" else 0,
        batch=pick(16, 64),
        length=long,
        mean_length=long,
        prompt=long // 2 if policy else 0,
        reply=long // 2 if policy else 0,
        precision=pick("bf16", "bf16", "fp32"),
        optimizer=pick("adamw", "adamw_8bit"),
        masters=pick(True, False),
        steps=10,
        rows=2 if method in ("dpo", "reward_modeling") else 1,
        reference=pick("own", "adapter_off") if policy or method == "dpo" else "none",
        judge="own" if policy else "none",
        critic=policy,
        micro=pick(None, None, 1, 2),
        recompute=pick(None, None, True, False),
        sharding=pick(None, None, "ddp", "zero2", "zero3", "fsdp2"),
        offload=pick(None, None, "none", "optimizer", "all"),
    )


@st.composite
def machines(draw: st.DrawFn) -> Machine:
    count, nodes = draw(st.sampled_from([1, 2, 4])), draw(st.sampled_from([1, 1, 2]))
    if draw(st.integers(0, 4)) == 0:
        return Machine("cpu", None, count, 2**34, 2**34, 4, None, bf16=True, nodes=nodes)
    card, host = draw(st.sampled_from(CARDS)), draw(st.sampled_from([None, 2**38, 2**41]))
    return Machine(
        "gpu", card, count, card.memory, card.usable, 1, 2.0, bf16=True, nodes=nodes, host=host
    )


@settings(max_examples=150, deadline=None)
@given(works(), machines())
def test_more_memory_never_fits_less(work: Work, machine: Machine) -> None:
    """Half as much again, on the device or beside it."""
    found = fit(work, machine)
    assume(found)
    more = replace(machine, memory=machine.memory * 3 // 2, usable=machine.usable * 3 // 2)
    beside = replace(machine, host=machine.host * 2) if machine.host else machine
    for larger in (more, beside):
        answer = fit(work, larger)
        assert found and answer and RANK[answer.fits] >= RANK[found.fits]


@settings(max_examples=150, deadline=None)
@given(works(), machines(), st.sampled_from([2, 4]))
def test_more_devices_never_fit_less(work: Work, machine: Machine, times: int) -> None:
    """Of the same kind, where they can share the batch: what fits may become tight, as NCCL takes
    memory of its own, but never too much."""
    more = replace(machine, count=machine.count * times)
    found, answer = fit(work, machine), fit(work, more)
    assume(found and answer)
    assert found and answer
    assert found.fits == "no" or answer.fits != "no", (found.layout, answer.layout)


@settings(max_examples=150, deadline=None)
@given(works(), machines())
def test_longer_rows_never_need_less(work: Work, machine: Machine) -> None:
    """Twice as long: in every layout as many bytes and seconds at the least."""
    longer = replace(
        work,
        length=2 * work.length,
        mean_length=2 * work.length,
        prompt=2 * work.prompt,
        reply=2 * work.reply,
    )
    before = {one.layout: one for one in tried(work, machine)}
    for one in tried(longer, machine):
        if one.layout in before:
            least = before[one.layout]
            assert one.need.memory.allocated >= EXACT * least.need.memory.allocated, one.layout
            assert one.seconds >= EXACT * least.seconds, one.layout


@settings(max_examples=150, deadline=None)
@given(works(), machines())
def test_more_micro_batches_never_need_less(work: Work, machine: Machine) -> None:
    """Of the same rows: gradients rest on the device meanwhile."""
    part = used(work.parameters, machine, alone=False)
    for one in tried(replace(work, minibatches=1), machine):
        again = replace(one.layout, accumulate=2 * one.layout.accumulate)
        twice = need(replace(work, batch=2 * work.batch), part, again).memory.allocated
        assert twice >= EXACT * one.need.memory.allocated, one.layout


@settings(max_examples=150, deadline=None)
@given(works(), machines(), st.sampled_from([1, 64]))
def test_the_parts_of_a_peak_add_up(work: Work, machine: Machine, shorter: int) -> None:
    """The largest phase is the peak, its parts are what it is made of, and none is less than
    nothing: not even where rows are so short that gradients are most of it."""
    least = max(1, work.length // shorter)
    cut = work if work.reply else replace(work, length=least, mean_length=least)
    for one in tried(cut, machine):
        found = one.need.memory
        assert found.allocated == max(found.phases.values())
        assert min(found.terms.values()) >= 0, (one.layout, found.terms)
        assert abs(sum(found.terms.values()) - found.allocated) <= 1e-9 * found.allocated
