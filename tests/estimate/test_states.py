"""What rests on a device and beside it: bytes a parameter by optimizer, sharding and offload.

What is proven: each way to shard divides what its paper says and nothing else, offload moves bytes
and loses none, and the terms of every estimate add up to its peak.
"""

from __future__ import annotations

import time
from dataclasses import replace
from itertools import product
from typing import Any

import pytest

from tunelang.estimate.architecture import Architecture
from tunelang.estimate.load import Load, Offload, Sharding
from tunelang.estimate.memory import memory
from tunelang.estimate.parameters import count
from tunelang.estimate.roles import Roles, step_memory
from tunelang.estimate.states import (
    gradient_bytes,
    host_bytes,
    optimizer_bytes,
    states,
    stepping_bytes,
    weight_bytes,
)

TINY = Architecture("tiny", 512, 4, 8, 4, 64, 1376, 32000, 4096, tied=False)
P = count(TINY)
FULL = Load(TINY, "full", 4096, length=1024, masters=True)
LORA = Load(TINY, "lora", 4096, length=1024, rank=16)
PPO = Roles("policy", 1, 256, 768, 16, reference="own", critic="own", judge="own")


def each(load: Load) -> tuple[float, float, float]:
    """Weights, gradients and optimizer in bytes a parameter."""
    return weight_bytes(load) / P, gradient_bytes(load) / P, optimizer_bytes(load) / P


@pytest.mark.parametrize(
    ("sharding", "expected"),
    [
        ("none", (4, 4, 8)),  # fp32 masters under autocast
        ("ddp", (4, 4, 8)),
        ("fsdp2", (1, 1, 2)),
        ("zero1", (2, 2, 3)),  # bf16, and fp32 masters with both states: 12 bytes over 4 devices
        ("zero2", (2, 0.5, 3)),
        ("zero3", (0.5, 0.5, 3)),
    ],
)
def test_sharding_divides_what_it_says(
    sharding: Sharding, expected: tuple[float, float, float]
) -> None:
    """ZeRO's stages (arXiv 1910.02054, section 5) and FSDP2, over four devices."""
    found = each(replace(FULL, sharding=sharding, devices=4 if sharding != "none" else 1))
    assert found == pytest.approx(expected)


def test_a_head_in_fp32_keeps_deepspeed_from_bf16() -> None:
    """With a reward's or value's head, DeepSpeed holds everything that trains in fp32."""
    headed = replace(FULL, sharding="zero1", devices=4, headed=True)
    assert each(headed) == pytest.approx((4, 4, 3))  # masters are a copy of what is fp32 already


@pytest.mark.parametrize(
    ("sharding", "headed", "resting", "stepping"),
    [
        ("zero1", False, 14, 22),
        ("zero2", False, 14, 22),
        ("zero3", False, 14, 22),
        ("zero1", True, 16, 24),
        ("zero2", True, 16, 24),
        ("zero3", True, 16, 24),
    ],
)
def test_deepspeed_turns_gradients_over_before_it_steps(
    sharding: Sharding, headed: bool, resting: int, stepping: int
) -> None:
    """Bytes a parameter on one device: between steps (gradients apart) as DeepSpeed 0.19.8 was seen
    to hold them; in a step by its code: gradients, flat ones, and fp32 ones of bf16."""
    load = replace(FULL, sharding=sharding, headed=headed)
    weights, _, optimizer = each(load)
    assert weights + optimizer == pytest.approx(resting)
    assert weights + optimizer + stepping_bytes(load) / P == pytest.approx(stepping)


def test_a_step_of_deepspeed_is_a_phase() -> None:
    """Where nothing else is large, the step is the worst moment, and its terms say why."""
    found = memory(replace(FULL, tokens=8, length=8, sharding="zero2", devices=4))
    assert found.phase == "optimizer"
    assert found.terms["gradients"] == pytest.approx(8 * P / 4)


def test_the_third_stage_keeps_room_for_gradients() -> None:
    """They are there in forward, whether they are accumulated or not; in stage 2 they are not."""
    three, two = (replace(FULL, sharding=way, devices=4) for way in ("zero3", "zero2"))
    forward = [memory(load).phases["forward"] for load in (three, replace(three, accumulates=True))]
    assert forward[0] == forward[1]
    assert memory(two).phases["forward"] < memory(replace(two, accumulates=True)).phases["forward"]


@pytest.mark.parametrize(
    ("optimizer", "bytes_each"),
    [
        ("adamw", 8),
        ("adamw_8bit", 2 + 8 / 256),
        ("paged_adamw_8bit", 0),
        ("lion", 4),
        ("momentum", 4),
        ("sgd", 0),
    ],
)
def test_optimizers_hold_what_they_hold(optimizer: str, bytes_each: float) -> None:
    """Bytes of states for each parameter in fp32."""
    assert optimizer_bytes(replace(FULL, optimizer=optimizer)) / P == pytest.approx(bytes_each)


@pytest.mark.parametrize(
    ("sharding", "offload"),
    [("zero2", "optimizer"), ("zero3", "all"), ("fsdp2", "all")],
)
def test_what_is_offloaded_waits_in_the_machine(sharding: Sharding, offload: Offload) -> None:
    """No states are left on the device, and all of them are on the host."""
    there = replace(FULL, sharding=sharding, devices=4)
    moved = replace(there, offload=offload)
    assert optimizer_bytes(moved) == 0
    assert weight_bytes(moved) == (0 if offload == "all" else weight_bytes(there))
    assert host_bytes(there) == 0
    assert host_bytes(moved) >= states(there) + (weight_bytes(there) if offload == "all" else 0)


@pytest.mark.parametrize("load", [FULL, LORA], ids=["full", "lora"])
@pytest.mark.parametrize("roles", [Roles(), Roles("reward", 2), PPO], ids=["sft", "reward", "ppo"])
def test_terms_add_up_to_the_peak(load: Load, roles: Roles) -> None:
    """Whatever is asked: the terms are parts of the worst phase, none below nothing."""
    ways = product((False, True), (False, True), ("none", "ddp", "zero2", "zero3", "fsdp2"))
    for checkpointing, accumulates, sharding in ways:
        asked = replace(
            load,
            checkpointing=checkpointing,
            accumulates=accumulates,
            sharding=sharding,  # type: ignore[arg-type]
            devices=1 if sharding == "none" else 8,
            scored=0.0 if roles.family == "reward" else 0.75,
        )
        found = step_memory(asked, roles)
        assert sum(found.terms.values()) == pytest.approx(found.allocated)
        assert min(found.terms.values()) > -1
        assert found.allocated == max(found.phases.values())


@pytest.mark.parametrize(
    "change",
    [{"tokens": 8192}, {"rank": 64}, {"accumulates": True}, {"dora": True}],
    ids=lambda change: next(iter(change)),
)
def test_more_of_anything_needs_no_less(change: dict[str, Any]) -> None:
    """More tokens, a larger adapter, gradients that wait: never less memory."""
    assert memory(replace(LORA, **change)).allocated >= memory(LORA).allocated


def test_a_candidate_takes_microseconds() -> None:
    """100 for one step and some more for four roles, measured in time of this process; the bound
    leaves room for slow machines."""
    for load, roles in ((LORA, Roles()), (FULL, PPO)):
        took = []
        for _ in range(20):
            start = time.process_time()
            for _ in range(50):
                step_memory(load, roles)
            took.append((time.process_time() - start) / 50)
        assert min(took) < 400e-6
