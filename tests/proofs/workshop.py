"""A tiny model in a store of its own, steps over it, and a way to run them in this process.

Proofs state facts about training; this module only saves them from repeating how a step is made.
"""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from tunelang.plan.ir import (
    Batch,
    DataFormat,
    DataPart,
    HoldOut,
    InlineSource,
    Mixture,
    Place,
    Schedule,
    ScratchModel,
    Step,
    StoreModel,
    Weights,
)
from tunelang.run.store import Store
from tunelang.train import __main__ as worker
from tunelang.train import machine
from tunelang.train.job import Job
from tunelang.train.model import Loaded, load

TINY = "tiny"
GOOD = ["sun", "cat", "dog", "park"]
BAD = ["mat", "red", "ran", "sat"]
LORA = {"rank": 4, "alpha": 8, "targets": "all_linear", "dropout": 0.0}
COMMON = {"weight_decay": 0.0, "max_grad_norm": 1.0, "optimizer": "adamw"}
WORKERS = {
    "reward_modeling": "tunelang.train.reward",
    "multi_task": "tunelang.train.multi_task",
    "import_model": "tunelang.train.import_model",
}
PRODUCTS = {"reward_modeling": "reward"}


@dataclass(frozen=True)
class Shop:
    """A home folder with the tiny model in its store."""

    home: Path

    @property
    def store(self) -> Store:
        return Store(self.home)

    def job(self, step: Step) -> Job:
        return worker.open_job(step, self.home)

    def run(self, step: Step) -> dict[str, dict[str, float]]:
        """Run a step as the worker would, and publish what it made."""
        job = self.job(step)
        machine.prepare(step, job)
        metrics: dict[str, dict[str, float]] = import_module(step.worker).run(step, job)
        assert (job.work / "product.done").is_file()
        self.store.publish(step.key, job.product, {"step": step.name})
        return metrics

    def load(self, key: str = TINY, **wish: Any) -> Loaded:
        job = Job(self.home, self.store.work("load"), self.store, lambda event: None)
        return load(StoreModel(key=key), job, **{"precision": "fp32", **wish})

    def events(self, key: str) -> list[dict[str, Any]]:
        lines = (self.store.work(key) / "events.jsonl").read_text("utf-8").splitlines()
        return [json.loads(line) for line in lines]

    def said(self, key: str, event: str) -> list[str]:
        return [found["text"] for found in self.events(key) if found["event"] == event]

    def weights(self, key: str) -> dict[str, bytes]:
        """The bytes of every weight file of an object."""
        folder = self.store.object(key)
        found = sorted(folder.rglob("*.safetensors"))
        return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}

    def forget(self, *keys: str) -> None:
        for key in keys:
            shutil.rmtree(self.store.work(key), ignore_errors=True)
            shutil.rmtree(self.store.object(key), ignore_errors=True)


def open_shop(home: Path) -> Shop:
    """Make the tiny model: 2 layers, 64 wide, a tokenizer of 384 tokens."""
    text = home / "text.txt"
    home.mkdir(parents=True, exist_ok=True)
    text.write_text("the cat sat on the mat. a dog ran in the park, and the sun was red.\n" * 40)
    shape = ScratchModel(
        architecture="llama",
        hidden=64,
        layers=2,
        heads=4,
        kv_heads=2,
        ffn=128,
        vocabulary=384,
        positions=512,
        seed=0,
        tokenizer_text=[str(text)],
        fingerprint="text",
    )
    shop = Shop(home)
    shop.run(blank("import_model", TINY, import_from=shape))
    return shop


def place(micro: int = 8, accumulate: int = 1, **more: Any) -> Place:
    """One CPU thread."""
    fixed: dict[str, Any] = {
        "device": "cpu",
        "gpu": None,
        "gpus": 0,
        "threads": 1,
        "checkpointing": False,
        "sharding": "none",
        "launcher": "local",
    }
    return Place(micro=micro, accumulate=accumulate, **{**fixed, **more})


def schedule(steps: int, **more: Any) -> Schedule:
    fixed: dict[str, Any] = {
        "warmup": 2,
        "kind": "cosine",
        "floor": 0.1,
        "eval_every": 0,
        "save_every": 0,
    }
    return Schedule(steps=steps, **{**fixed, **more})


def blank(method: str, key: str, **more: Any) -> Step:
    fixed: dict[str, Any] = {
        "name": key,
        "method": method,
        "method_version": 1,
        "worker": WORKERS.get(method, "tunelang.train.sft"),
        "key": key,
        "product": PRODUCTS.get(method, "lm"),
        "seed": 1,
        "precision": "fp32",
        "place": place(),
    }
    return Step(**{**fixed, **more})


def part(kind: str, rows: list[dict[str, Any]], **more: Any) -> DataPart:
    """Rows written in the recipe, their columns named as their roles."""
    columns = {"field": kind} if kind in ("text", "prompt") else {role: role for role in rows[0]}
    fixed: dict[str, Any] = {
        "name": kind,
        "source": InlineSource(rows=rows),
        "format": DataFormat(kind=kind, columns=columns),
        "fingerprint": "inline",
        "hold_out": HoldOut(rows=8),
    }
    return DataPart(**{**fixed, **more})


def training(method: str, key: str, data: DataPart | Mixture, **more: Any) -> Step:
    """A step that trains LoRA on the tiny model for 6 updates of 8 rows."""
    fields = {**COMMON, **more.pop("fields", {})}
    kind = more.pop("weights", "lora")
    settings = {**LORA, **more.pop("adapter", {})} if kind != "full" else {}
    fixed: dict[str, Any] = {
        "inputs": {"model": StoreModel(key=more.pop("model", TINY))},
        "data": data if isinstance(data, Mixture) else Mixture(parts=[data]),
        "weights": Weights(kind=kind, fields=settings),
        "length": 96,
        "lr": 3e-3,
        "schedule": schedule(6),
        "batch": Batch(size=8, noun="sequences"),
        "fields": fields,
    }
    return blank(method, key, **{**fixed, **more})


def instructions(count: int = 48) -> list[dict[str, Any]]:
    """`say A and B` -> `A and B`, some replies three times as long as others."""
    chance = random.Random(0)
    rows = []
    for _ in range(count):
        words = [chance.choice(GOOD + BAD) for _ in range(chance.randint(2, 9))]
        rows.append({"prompt": f"say {' '.join(words)}", "reply": " ".join(words)})
    return rows


def texts(count: int = 40) -> list[dict[str, Any]]:
    chance = random.Random(1)
    return [
        {"text": " ".join(chance.choice(GOOD + BAD) for _ in range(chance.randint(4, 40)))}
        for _ in range(count)
    ]


def preferences(count: int = 300) -> list[dict[str, Any]]:
    """The chosen reply has more good words than the rejected one."""
    chance = random.Random(2)

    def reply(good: int) -> str:
        words = [chance.choice(GOOD) for _ in range(good)]
        words += [chance.choice(BAD) for _ in range(6 - good)]
        chance.shuffle(words)
        return " " + " ".join(words)

    pairs = []
    for _ in range(count):
        more = chance.randrange(1, 7)
        pairs.append(
            {"prompt": "words:", "chosen": reply(more), "rejected": reply(chance.randrange(more))}
        )
    return pairs


def largest_difference(ours: dict[str, Any], theirs: dict[str, Any]) -> float:
    """max |a - b| over tensors of equal names."""
    assert ours.keys() == theirs.keys()
    return max(float((ours[name] - theirs[name]).abs().max()) for name in ours)


def collect() -> tuple[list[dict[str, Any]], Callable[[dict[str, Any]], None]]:
    """A list, and an `emit` that fills it."""
    events: list[dict[str, Any]] = []
    return events, events.append


def one_thread() -> None:
    """Bits depend on the thread count, and tiny matrices gain nothing from a second one."""
    torch.set_num_threads(1)
