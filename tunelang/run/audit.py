"""Which steps of a plan must run: those whose object is missing or not what was written.

Finished objects are compared by size; those that a running step will read, with all that they
rest on, by content: an hour of training is not spent on damaged weights.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tunelang.diagnostic import Diagnostic, warning
from tunelang.plan.ir import Plan, Step, StoreModel, StoreSource
from tunelang.run.store import Store


@dataclass(frozen=True)
class Audit:
    """`missing` are the keys to make; each warning tells of a damaged object set aside."""

    missing: frozenset[str]
    warnings: tuple[Diagnostic, ...]


def audit(plan: Plan, store: Store) -> Audit:
    """Look at every object the plan names, the last step first; damaged ones are set aside."""
    names = {step.key: step.name for step in plan.steps}
    warnings: list[Diagnostic] = []

    def sound(key: str, content: bool) -> bool:
        problems = store.verify(key, content=content) if store.has(key) else []
        if problems:
            warnings.append(_set_aside(store, key, names.get(key, key[:12]), problems))
        return store.has(key)

    missing: set[str] = set()
    for step in reversed(plan.steps):
        if not sound(step.key, content=False):
            missing.add(step.key)
            _inputs(step, store, lambda key: sound(key, content=True))
    return Audit(frozenset(missing), tuple(warnings))


def _inputs(step: Step, store: Store, sound: Callable[[str], bool]) -> None:
    """Visit each object the step reads, and those it rests on in turn."""
    parts = step.data.parts if step.data else []
    read = [*step.inputs.values(), *(part.source for part in parts)]
    waiting = [each.key for each in read if isinstance(each, StoreModel | StoreSource)]
    seen: set[str] = set()
    while waiting:
        key = waiting.pop()
        if key in seen:
            continue
        seen.add(key)
        if sound(key):
            waiting += rests_on(store, key)


def rests_on(store: Store, key: str) -> list[str]:
    """The keys of the objects without which this one is not whole: base, adapters, tokenizer."""
    product = store.product(key)
    base = product.get("base") or {}
    named = [base.get("key"), *product.get("deltas", []), product.get("tokenizer")]
    return sorted({one for one in named if one and one != key})


def _set_aside(store: Store, key: str, name: str, problems: list[str]) -> Diagnostic:
    aside = store.quarantine(key)
    return warning(
        "TL726",
        "damaged-object",
        f"what `{name}` made is damaged in the store ({'; '.join(problems[:3])}); it is made again",
        None,
        help=f"the damaged files are kept in {aside}; a failing disk is a common cause",
    )
