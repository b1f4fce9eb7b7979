"""Why a step will run: the stored step that is nearest to it, and where they differ."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from pydantic import ValidationError

from tunelang.plan.differences import Change, differences
from tunelang.plan.ir import Step
from tunelang.run.store import Store

NEAR = 5  # differences; a step with more of them is another step, and none of them is the reason


@dataclass(frozen=True)
class Finished:
    """A step whose product is in the store, and when it was made."""

    key: str
    step: Step
    created: float


@dataclass(frozen=True)
class Nearest:
    """A finished step of the same method, and what it would take to make it the wanted one."""

    key: str
    step: Step
    created: float
    changes: list[Change]


def finished(store: Store) -> list[Finished]:
    """Every step of the store; those that another version wrote down otherwise are passed over."""
    keys = store.keys()
    return [each for key in keys if (each := _read(store, key))]


def nearest(known: Sequence[Finished], wanted: Step) -> Nearest | None:
    """The finished step that differs least; of equally near ones that of the same name, the newest.

    No step is its own nearest.
    """
    found = [
        Nearest(each.key, each.step, each.created, differences(each.step, wanted))
        for each in known
        if each.step.method == wanted.method and each.key != wanted.key
    ]
    return min(
        found,
        key=lambda each: (len(each.changes), each.step.name != wanted.name, -each.created),
        default=None,
    )


def reason(known: Sequence[Finished], step: Step, running: Collection[str]) -> str:
    """The one thing that makes a step run, as `lr 1e-05 → 2e-05`; empty where nothing is NEAR.

    Where only what it starts from differs, that is the reason: the step before is `running` too.
    """
    near = nearest(known, step)
    if near is None:
        return ""
    own = [each for each in near.changes if not each.name.startswith("input")]
    if len(own) > NEAR:
        return ""
    if own:
        more = f" and {len(own) - 1} more" if len(own) > 1 else ""
        return f"{own[0].name} {own[0].old} → {own[0].new}{more}"
    before = next((name for name in step.after if name in running), None)
    return f"`{before}`, which it starts from, runs" if before else "it starts from other weights"


def _read(store: Store, key: str) -> Finished | None:
    try:
        text = (store.object(key) / "step.json").read_text("utf-8")
        created = float(store.manifest(key).get("created", 0.0))
        return Finished(key, Step.model_validate_json(text), created)
    except (OSError, ValueError, ValidationError):
        return None
