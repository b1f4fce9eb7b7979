"""Why a step will run: the stored step that is nearest to it, and where they differ."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import ValidationError

from tunelang.plan.differences import Change, differences
from tunelang.plan.ir import Step
from tunelang.run.store import Store


@dataclass(frozen=True)
class Nearest:
    """A finished step of the same method, and what it would take to make it the wanted one."""

    key: str
    step: Step
    created: float
    changes: list[Change]


def nearest(store: Store, wanted: Step) -> Nearest | None:
    """The stored step that differs least; of equally near ones that of the same name, the newest.

    Steps that another version of TuneLang wrote down otherwise are passed over.
    """
    finished = store.keys()
    found = [each for key in finished if (each := _candidate(store, key, wanted))]
    return min(
        found,
        key=lambda each: (len(each.changes), each.step.name != wanted.name, -each.created),
        default=None,
    )


def _candidate(store: Store, key: str, wanted: Step) -> Nearest | None:
    try:
        text = (store.object(key) / "step.json").read_text("utf-8")
        step = Step.model_validate_json(text)
        created = float(store.manifest(key).get("created", 0.0))
    except (OSError, ValueError, ValidationError):
        return None
    if step.method != wanted.method or key == wanted.key:
        return None
    return Nearest(key, step, created, differences(step, wanted))
