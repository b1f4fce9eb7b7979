"""What a change of recipe means for the stages: reused, renamed, changed, added, removed."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from tunelang.plan.figures import band
from tunelang.plan.ir import Plan


@dataclass(frozen=True)
class Stages:
    """Names of stages by what becomes of them. Equal keys are one result, whatever the name."""

    reused: tuple[str, ...]
    renamed: dict[str, str]
    changed: tuple[str, ...]
    added: tuple[str, ...]
    removed: tuple[str, ...]

    @property
    def moved(self) -> bool:
        """Whether anything is not simply reused."""
        return bool(self.renamed or self.changed or self.added or self.removed)

    def lines(self) -> list[str]:
        """One line a fate; those that nothing meets are left out."""
        renamed = [f"{old} → {new}" for old, new in self.renamed.items()]
        fates = {
            "reused": self.reused,
            "renamed, same key": renamed,
            "changed": self.changed,
            "added": self.added,
            "removed": self.removed,
        }
        return [f"{fate}: {', '.join(names)}" for fate, names in fates.items() if names]


def stages(old: Plan, new: Plan, outdated: Collection[str] = ()) -> Stages:
    """`outdated` names old stages whose method was of another version: their keys are not ours."""
    before = {step.name: step.key for step in old.steps}
    after = {step.name: step.key for step in new.steps}
    gone = {key: name for name, key in before.items() if name not in after and name not in outdated}
    renamed = {gone[key]: name for name, key in after.items() if name not in before and key in gone}
    both = [name for name in after if name in before]
    reused = [name for name in both if before[name] == after[name] and name not in outdated]
    return Stages(
        reused=tuple(reused),
        renamed=renamed,
        changed=tuple(name for name in both if name not in reused),
        added=tuple(n for n in after if n not in before and n not in renamed.values()),
        removed=tuple(n for n in before if n not in after and n not in renamed),
    )


def costs(old: Plan, new: Plan) -> list[str]:
    """Time and money of all stages, before and after, where they differ."""
    before, after = _total(old), _total(new)
    return [
        f"{name}: {one} → {two}"
        for name, one, two in zip(("time", "cost"), before, after, strict=True)
        if one != two
    ]


def _total(plan: Plan) -> tuple[str, str]:
    known = [step.estimate for step in plan.steps if step.estimate]
    low, high = sum(e.seconds_low for e in known), sum(e.seconds_high for e in known)
    dollars = [each.dollars for each in known if each.dollars is not None]
    cost = f"${sum(dollars):,.2f}" if dollars else "no price"
    return (band(low, high) if known else "no estimate"), cost
