"""Steps of ppo, grpo and rloo on the tiny model: 4 iterations of 8 episodes, saved after two."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from workshop import COMMON, TINY, Shop, part, preferences, schedule, training

from tunelang.plan.ir import Batch, Step, StoreModel
from tunelang.train import optimise

PROMPTS = [{"prompt": f"words {word}{mark}"} for word in ("sun", "cat", "mat") for mark in ".,!?;:"]
ROLLOUT: dict[str, Any] = {"reply": 8, "temperature": 1.0, "epochs": 2, "minibatches": 2}
SHARED: dict[str, Any] = {
    "kl": {"coefficient": 0.05, "target": 2.0, "horizon": 100.0},
    "rollout": ROLLOUT,
    "penalty": {"no_end_of_text": -1.0},
    "clip_rewards": None,
}
FIELDS: dict[str, dict[str, Any]] = {
    "ppo": {
        **SHARED,
        "clip": 0.2,
        "gamma": 1.0,
        "lambda": 0.95,
        "value": {"lr": 1e-3, "clip": 0.2, "coefficient": 0.1, "from": "reward"},
        "whiten_rewards": False,
        "pretraining": {"data": None, "coefficient": 27.8, "batch": 4.0},
    },
    "grpo": {
        **SHARED,
        "rollout": {**ROLLOUT, "group": 4},
        "clip": {"low": 0.2, "high": 0.2},
        "scale": "group",
        "average": "replies",
    },
    "rloo": {**SHARED, "rollout": {**ROLLOUT, "group": 4}, "clip": 0.2},
}


def fields_of(method: str) -> dict[str, Any]:
    return COMMON | FIELDS[method]


def make_judge(shop: Shop) -> Shop:
    """A reward called `judge` on the tiny model."""
    data = part("preference", preferences(60))
    shop.run(training("reward_modeling", "judge", data, fields={"center": 0.01}))
    return shop


def step_of(key: str, *, method: str = "ppo", policy: str = TINY, **more: Any) -> Step:
    """One step; a `reward` among the fields is a function and takes the judge's place."""
    fields = FIELDS[method] | more.pop("fields", {})
    models = {"policy": policy, "reference": policy, "reward": "judge"} | more.pop("inputs", {})
    if "reward" in fields:
        del models["reward"]
    changed: dict[str, Any] = {
        "worker": f"tunelang.train.{method}",
        "inputs": {role: StoreModel(key=name) for role, name in models.items()},
        "schedule": schedule(4, save_every=2, eval_every=3),
        "batch": Batch(size=8, noun="episodes"),
    }
    data = more.pop("data", part("prompt", PROMPTS))
    return training(method, key, data, fields=fields, **{**changed, **more})


def dying(at: int, end: Callable[[], None]) -> Callable[..., None]:
    """The optimizers' step that ends the run before the update of this number."""
    plain, seen = optimise.update, 0

    def step(*given: Any) -> None:
        nonlocal seen
        seen += 1
        if seen > at:
            end()
        plain(*given)

    return step
