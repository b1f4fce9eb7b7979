"""What differs between two recipes, by what they mean: declarations and their values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tunelang.recipe.lock import Lock
from tunelang.recipe.model import Choice, Declared, Given, Recipe, Ref
from tunelang.recipe.schema import Method
from tunelang.recipe.show import literal
from tunelang.units import number

NOTHING = "nothing"


@dataclass(frozen=True)
class Change:
    """A value on both sides; `note` says where a default is what changed."""

    path: str
    old: str
    new: str
    note: str = ""


@dataclass(frozen=True)
class Difference:
    """A declaration that was added (`old` empty), removed (`new` empty), renamed or changed."""

    kind: str
    old: str
    new: str
    changes: tuple[Change, ...] = ()


@dataclass(frozen=True)
class Side:
    """A recipe, and the lock that says which defaults it was written under."""

    recipe: Recipe
    lock: Lock | None = None
    renamed: Mapping[str, str] = field(default_factory=dict)  # old names of stages to new ones

    def version(self, method: Method) -> int:
        """Of the method's defaults that hold on this side."""
        locked = self.lock.methods.get(method.name) if self.lock else None
        return int(locked["version"]) if locked else method.version


def compare(old: Side, new: Side) -> list[Difference]:
    """Everything that differs, in the order of the new recipe; what was removed comes last."""
    before = {old.renamed.get(name, name): each for name, each in old.recipe.declared.items()}
    after = new.recipe.declared
    found = [*_top(old, new)]
    for name, each in after.items():
        was = before.get(name)
        if was is None or was.kind != each.kind:
            found.append(Difference(each.kind, "", name))
            continue
        changes = tuple(_changes((was, old), (each, new)))
        if changes or was.name != name:
            found.append(Difference(each.kind, was.name, name, changes))
    gone = [e for name, e in before.items() if name not in after or after[name].kind != e.kind]
    return [*found, *(Difference(each.kind, each.name, "") for each in gone)]


def _top(old: Side, new: Side) -> Iterator[Difference]:
    """The budget, and the sweeps as they are written."""
    pairs = [("budget", _budget(old.recipe), _budget(new.recipe))]
    names = dict.fromkeys([*old.recipe.sweeps, *new.recipe.sweeps])
    pairs += [(f"sweep {n}", _sweep(old.recipe, n), _sweep(new.recipe, n)) for n in names]
    for name, before, after in pairs:
        changes = tuple(_texts(before, after))
        if changes:
            kind, _, rest = name.partition(" ")
            yield Difference(kind, rest, rest, changes)


def _budget(recipe: Recipe) -> dict[str, str]:
    return {path: literal(given.value) for path, given in recipe.budget.items()}


def _sweep(recipe: Recipe, name: str) -> dict[str, str]:
    sweep = recipe.sweeps.get(name)
    if sweep is None:
        return {}
    axes = {axis.path: ", ".join(each.span.text for each in axis.values) for axis in sweep.axes}
    return axes | {path: _text(given.value, {}) for path, given in sweep.values.items()}


def _texts(old: Mapping[str, str], new: Mapping[str, str]) -> Iterator[Change]:
    for path in dict.fromkeys([*old, *new]):
        if old.get(path) != new.get(path):
            yield Change(path, old.get(path, NOTHING), new.get(path, NOTHING))


def _changes(old: tuple[Declared, Side], new: tuple[Declared, Side]) -> Iterator[Change]:
    """Values, shares and gates of one declaration."""
    (was, before), (now, after) = old, new
    names = before.renamed
    if was.method and now.method and was.method.name != now.method.name:
        yield Change("method", was.method.name, now.method.name)
    for path in dict.fromkeys([*was.values, *now.values]):
        yield from _value(path, (was, before), (now, after))
    yield from _texts(_shares(was, names), _shares(now, {}))
    yield from _texts(_gate(was), _gate(now))


def _value(path: str, old: tuple[Declared, Side], new: tuple[Declared, Side]) -> Iterator[Change]:
    """One change, or one for each field of a variant that is still the same variant."""
    (was, before), (now, _) = old, new
    first, second = was.values.get(path), now.values.get(path)
    locked = _locked(path, was, before)
    one = locked or _text(first.value if first else None, before.renamed)
    two = _text(second.value if second else None, {})
    if one == two:
        return
    a, b = first.value if first else None, second.value if second else None
    if not locked and isinstance(a, Choice) and isinstance(b, Choice) and a.name == b.name:
        pairs = [{key: _text(g.value, {}) for key, g in each.values.items()} for each in (a, b)]
        inner = _texts(pairs[0], pairs[1])
        yield from (Change(f"{path}.{each.path}", each.old, each.new) for each in inner)
        return
    yield Change(path, one, two, _note(first, second, old, new))


def _locked(path: str, declared: Declared, side: Side) -> str:
    """A default as the lock has it, where the method was of another version then."""
    method, given = declared.method, declared.values.get(path)
    if method is None or side.lock is None or side.version(method) == method.version:
        return ""
    if given is not None and not given.is_default:
        return ""
    return str(side.lock.methods[method.name].get("defaults", {}).get(path, ""))


def _note(
    first: Given | None,
    second: Given | None,
    old: tuple[Declared, Side],
    new: tuple[Declared, Side],
) -> str:
    """`default of sft 1 → 2` where nobody wrote the value on either side."""
    method = new[0].method
    if method is None or second is None or not second.is_default:
        return ""
    if first is not None and not first.is_default:
        return f"default of {method.name} {method.version}"
    was = old[1].version(old[0].method) if old[0].method else method.version
    return f"default of {method.name} {was} → {method.version}"


def _text(value: Any, renamed: Mapping[str, str]) -> str:
    """As a recipe writes it; stages under their new names."""
    if value is None:
        return NOTHING
    if isinstance(value, Ref) and value.name in renamed:
        value = Ref(value.kind, renamed[value.name], value.hold_out)
    return literal(value)


def _shares(declared: Declared, renamed: Mapping[str, str]) -> dict[str, str]:
    return {
        renamed.get(part.name, part.name): f"{number(share.value * 100)}%"
        for part, share in declared.parts
    }


def _gate(declared: Declared) -> dict[str, str]:
    """The bounds of each metric, and whether the gate stops the run."""
    bounds: dict[str, list[str]] = {}
    for each in declared.checks:
        bounds.setdefault(f"gate {each.text}", []).append(f"{each.compare} {number(each.bound)}")
    return {
        "gate.enforce": literal(declared.enforce),
        **{name: ", ".join(texts) for name, texts in bounds.items()},
    }
