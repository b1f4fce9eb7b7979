"""Who does which item, and that no engine falls back in silence: what is not laid out as planned is
found. Seen to fail: with `faults` of every engine empty; with repeats that count."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import nn

from tunelang.errors import UserError
from tunelang.plan.ir import Place
from tunelang.run.store import Store
from tunelang.train import engines
from tunelang.train.engines import ddp, fsdp2
from tunelang.train.engines.body import Body
from tunelang.train.engines.engine import Unit
from tunelang.train.engines.group import Group
from tunelang.train.job import Job

PLACE = Place(
    device="cpu",
    gpu=None,
    gpus=0,
    threads=1,
    micro=1,
    accumulate=1,
    checkpointing=False,
    sharding="fsdp2",
    launcher="torchrun",
)


class Layer(nn.Linear):
    """What a model of transformers would name as not to be split."""


class Model(nn.Module):
    _no_split_modules = ("Layer",)

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([Layer(4, 4), Layer(4, 4)])
        self.head = nn.Linear(4, 1, bias=False)


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A group of one process."""
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def unit(model: nn.Module) -> Unit:
    make = lambda named: torch.optim.AdamW(list(named.values()))  # noqa: E731
    return Unit("main", {"model": model}, dict(model.named_parameters()), make)


def member(rank: int, world: int) -> Group:
    """A process as it would be among others."""
    made = Group.__new__(Group)
    made.rank, made.world = rank, world
    return made


@pytest.mark.parametrize("world", [1, 2, 3, 4])
@pytest.mark.parametrize("count", [1, 2, 3, 5, 8])
def test_every_item_is_counted_once_and_all_have_as_many(world: int, count: int) -> None:
    """Also where they do not divide: then some are computed once more, for nothing."""
    items = list(range(count))
    shares = [member(rank, world).share(items) for rank in range(world)]
    counted = [member(rank, world).counts(count) for rank in range(world)]
    assert len({len(share) for share in shares}) == 1
    seen = [
        item
        for share, marks in zip(shares, counted, strict=True)
        for item, mark in zip(share, marks, strict=True)
        if mark
    ]
    assert sorted(seen) == items


def test_what_was_shared_out_comes_together_in_its_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """Process by process, turn by turn."""
    shares = [member(rank, 2).share("abcde") for rank in range(2)]
    monkeypatch.setattr("tunelang.train.engines.group.gathered", lambda mine: shares)
    assert member(0, 2).together(shares[0])[:5] == list("abcde")


def job(tmp_path: Path, said: list[dict[str, Any]]) -> Job:
    return Job(tmp_path, tmp_path, Store(tmp_path), said.append)


def test_weights_that_are_not_sharded_end_the_step(
    alone: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As accelerate's FSDP on a CPU, which is DistributedDataParallel and says nothing."""
    engine = fsdp2.Fsdp2(PLACE, "fp32")
    engine.adopt([unit(Model())])
    assert engine.faults() == []
    monkeypatch.setattr(fsdp2, "fully_shard", lambda *_given, **_more: None)
    bare = fsdp2.Fsdp2(PLACE, "fp32")
    bare.adopt([unit(Model())])
    said: list[dict[str, Any]] = []
    with pytest.raises(UserError, match="not what was planned"):
        engines.check(job(tmp_path, said), bare, 1)
    assert said[0]["name"] == "engine-as-planned" and not said[0]["ok"]


def test_a_layer_that_is_left_whole_is_found(alone: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A family whose layers are not found would be gathered whole in every pass."""
    monkeypatch.setattr(fsdp2, "layers", lambda body: [])
    engine = fsdp2.Fsdp2(PLACE, "fp32")
    engine.adopt([unit(Model())])
    monkeypatch.undo()
    assert any("not fully sharded" in fault for fault in engine.faults())


def test_replicas_without_a_reducer_are_found(alone: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each process would learn for itself."""
    engine = ddp.Ddp()
    engine.adopt([unit(Model())])
    assert engine.faults() == []
    monkeypatch.setattr(ddp, "wrap", lambda body, _unit: body)
    bare = ddp.Ddp()
    bare.adopt([unit(Model())])
    assert bare.faults()


def test_as_many_processes_run_as_are_planned(alone: None, tmp_path: Path) -> None:
    engine = ddp.Ddp()
    engine.adopt([unit(Model())])
    with pytest.raises(UserError, match="1 processes run, and 2 are planned"):
        engines.check(job(tmp_path, []), engine, 2)


def test_another_stage_of_zero_is_found() -> None:
    """By the class of DeepSpeed's optimizer, its stage, its processes, and what is held."""
    zero = pytest.importorskip("tunelang.train.engines.zero")
    weight = nn.Parameter(torch.zeros(2))
    optimizer = type("DeepSpeedZeroOptimizer", (), {})()
    held = SimpleNamespace(
        optimizer=optimizer,
        zero_optimization_stage=lambda: 2,
        dp_world_size=2,
        parameters=lambda: [weight],
    )
    engine = zero.Zero.__new__(zero.Zero)
    engine.engines, engine.world = {"main": held}, 2
    engine.config = {"bf16": {"enabled": False}}
    engine.stage = 2
    assert engine.faults() == []
    engine.stage = 3
    assert len(engine.faults()) == 3
    engine.stage, engine.world = 2, 4
    assert engine.faults() == ["`main` is shared by 2"]


def test_what_deepspeed_writes_is_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its files are on the disk before a checkpoint is called whole: DeepSpeed leaves them to the
    system, and a power cut would take them."""
    zero = pytest.importorskip("tunelang.train.engines.zero")

    def written(folder: str, tag: str, **_: object) -> None:
        (Path(folder) / tag).mkdir()
        (Path(folder) / tag / "states.pt").write_bytes(b"masters")

    synced: list[str] = []
    name = lambda handle: str(Path(f"/proc/self/fd/{handle}").readlink())  # noqa: E731
    monkeypatch.setattr(os, "fsync", lambda handle: synced.append(name(handle)))
    engine = zero.Zero.__new__(zero.Zero)
    engine.engines = {"main": SimpleNamespace(save_checkpoint=written)}
    engine.save(tmp_path)
    assert {str(tmp_path / "main" / "states.pt"), str(tmp_path / "main")} <= set(synced)


def test_a_model_is_found_where_it_is_held() -> None:
    """Of several it must be named; one that no engine adopted is in none."""
    first, second, stranger = nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(2, 2)
    engine = member(0, 1)
    engine.bodies = [Body({"a": first}, ("a",)), Body({"b": second}, ("b",))]
    assert engine.body_of(second) is engine.bodies[1]
    assert engine.body_of(stranger) is None
    with pytest.raises(ValueError, match="must be named"):
        engine.body_of(None)
