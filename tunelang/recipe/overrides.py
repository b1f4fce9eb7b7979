"""Overrides: what a profile and `--set` lay over declarations, and paths that match nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tunelang.diagnostic import Diagnostic, error, replace
from tunelang.recipe.kinds import WITH_FIELDS, fields
from tunelang.recipe.layers import Layer, Written, flatten, lift
from tunelang.recipe.names import Scope, did_you_mean, nearest
from tunelang.recipe.values import parse_value
from tunelang.source import Span
from tunelang.syntax.tree import Assignment, Block, Broken, Declaration, Item, Value


@dataclass
class Overrides:
    """What lies over declarations: by full name, by kind (`every`), and for let and param."""

    named: dict[str, list[Layer]] = field(default_factory=dict)
    every: dict[str, list[Layer]] = field(default_factory=dict)
    values: dict[str, Value] = field(default_factory=dict)


@dataclass(frozen=True)
class Settings:
    """What the command line says: the profile, `--set path=value` and `--param name=value`."""

    profile: str | None = None
    sets: Mapping[str, str] = field(default_factory=dict)
    params: Mapping[str, str] = field(default_factory=dict)
    point: Mapping[str, Value] | None = None  # of a sweep: between profile and `--set`


def collect(scope: Scope, settings: Settings, found: list[Diagnostic]) -> Overrides:
    """Every override that applies, lowest first: params, profile and its parents, `--set`."""
    overrides = Overrides()
    for name, text in settings.params.items():
        _param(name, text, scope, overrides, found)
    if settings.profile is not None:
        for declaration in reversed(_profiles(settings.profile, scope, found)):
            origin = f"profile {declaration.name.text}"
            for item in declaration.items or ():
                _item(item, origin, scope, overrides, found)
    for path, point in (settings.point or {}).items():
        written = Written(point, point.span, "sweep", scope)
        _assignment(path, written, scope, overrides, found)
    for path, text in settings.sets.items():
        _set(path, text, scope, overrides, found)
    return overrides


def check_profiles(scope: Scope, found: list[Diagnostic]) -> None:
    """Paths of the profiles that are not used now are checked all the same."""
    for declaration in _all_profiles(scope).values():
        unused = Overrides()
        for item in declaration.items or ():
            _item(item, declaration.name.text, scope, unused, found)


def _all_profiles(scope: Scope) -> dict[str, Declaration]:
    return {d.name.text: d for d in scope.file.declarations() if d.kind.text == "profile"}


def _profiles(name: str, scope: Scope, found: list[Diagnostic]) -> list[Declaration]:
    """The profile and what it extends, nearest first."""
    known = _all_profiles(scope)
    chain: list[Declaration] = []
    while name:
        if name not in known:
            at = chain[-1].extends.span if chain and chain[-1].extends else None
            guess = nearest(name, known)
            listed = f"there is {', '.join(known)}" if known else "this recipe has no profiles"
            found.append(
                error(
                    "TL101",
                    "unknown-name",
                    f"no profile named `{name}` is declared",
                    at,
                    "not declared",
                    help=did_you_mean(guess) or listed,
                    fix=replace(at, guess, safe=False) if at and guess else None,
                )
            )
            break
        if known[name] in chain:
            found.append(
                error(
                    "TL107",
                    "reference-cycle",
                    f"profile `{name}` extends itself",
                    known[name].name.span,
                    "goes round in a circle",
                )
            )
            break
        chain.append(known[name])
        parent = known[name].extends
        name = parent.text if parent else ""
    return chain


def _item(
    item: Item, origin: str, scope: Scope, overrides: Overrides, found: list[Diagnostic]
) -> None:
    if isinstance(item, Assignment):
        written = Written(item.value, item.path.span, origin, scope)
        _assignment(item.path.text, written, scope, overrides, found)
    elif isinstance(item, Block):
        target = scope.look_up(item.name.text)
        if target is None:
            _no_target(item.name.span, item.name.text, scope, found)
            return
        name = target[1].full(target[0].name.text)
        overrides.named.setdefault(name, []).append(flatten(item.items, origin, scope, found))
    elif isinstance(item, Declaration) and item.kind.text == "every":
        _every(item, origin, scope, overrides, found)
    elif not isinstance(item, Broken):
        found.append(
            error(
                "TL201",
                "wrong-type",
                "a profile holds paths, blocks and `every KIND { ... }`",
                item.span,
                "does not belong here",
            )
        )


def _every(
    item: Declaration, origin: str, scope: Scope, overrides: Overrides, found: list[Diagnostic]
) -> None:
    kind = item.name.text
    known = (*WITH_FIELDS, "gate")
    if kind not in known:
        guess = nearest(kind, known)
        found.append(
            error(
                "TL103",
                "unknown-kind",
                f"there is no kind `{kind}`",
                item.name.span,
                "not a kind",
                help=did_you_mean(guess) or f"kinds are {', '.join(known)}",
                fix=replace(item.name.span, guess, safe=False) if guess else None,
            )
        )
        return
    layer = flatten(item.items or (), f"{origin}, every {kind}", scope, found)
    prefix = "gate." if kind == "gate" else ""
    soft = {
        prefix + path: Written(w.value, w.span, w.origin, w.scope, optional_here=True)
        for path, w in layer.values.items()
    }
    overrides.every.setdefault("stage" if kind == "gate" else kind, []).append(
        Layer(soft, layer.checks)
    )


def _assignment(
    path: str, written: Written, scope: Scope, overrides: Overrides, found: list[Diagnostic]
) -> None:
    target = scope.look_up(path)
    if target is None:
        _no_target(written.span, path, scope, found)
        return
    declaration, owner, rest = target
    name = owner.full(declaration.name.text)
    if declaration.kind.text in ("let", "param"):
        overrides.values[name] = written.value
    elif rest:
        overrides.named.setdefault(name, []).append(Layer({rest: written}))
    else:
        whole = Declaration(
            declaration.kind, declaration.name, None, None, None, written.value, written.span
        )
        kind = declaration.kind.text  # one that is no kind has been reported
        known = tuple(fields(kind)) if kind in WITH_FIELDS and kind != "stage" else ()
        layer = lift(whole, known, scope, written.origin)
        overrides.named.setdefault(name, []).append(layer)


def _no_target(span: Span, path: str, scope: Scope, found: list[Diagnostic]) -> None:
    if not scope.is_broken(path):
        found.append(nothing(span, path, scope))


def nothing(span: Span, path: str, scope: Scope) -> Diagnostic:
    """TL116: a path of a profile, sweep or `--set` that names no declaration."""
    names = [name for name, _ in scope.visible()]
    first, _, rest = path.partition(".")
    guess = nearest(first, names)
    fixed = f"{guess}.{rest}" if guess and rest else guess
    return error(
        "TL116",
        "override-of-nothing",
        f"`{path}` matches nothing in this recipe",
        span,
        "overrides nothing",
        help=did_you_mean(fixed) or f"it declares {', '.join(names)}",
        fix=replace(span, fixed, safe=False) if fixed else None,
    )


def _set(path: str, text: str, scope: Scope, overrides: Overrides, found: list[Diagnostic]) -> None:
    value = parse_value(text, f"--set {path}")
    if value is None:
        found.append(
            error(
                "TL201",
                "wrong-type",
                f"`--set {path}={text}` is not a value",
                None,
                help="write it as a recipe would: --set chat.lr=1e-4",
            )
        )
        return
    _assignment(path, Written(value, value.span, "--set", scope), scope, overrides, found)


def _param(
    name: str, text: str, scope: Scope, overrides: Overrides, found: list[Diagnostic]
) -> None:
    params = [key for key, d in scope.visible() if d.kind.text == "param"]
    if name not in params:
        listed = f"it has {', '.join(params)}" if params else "it declares none"
        found.append(
            error(
                "TL116",
                "override-of-nothing",
                f"this recipe has no param `{name}`",
                None,
                help=did_you_mean(nearest(name, params)) or listed,
            )
        )
        return
    value = parse_value(text, f"--param {name}") or parse_value(f'"{text}"', f"--param {name}")
    target = scope.look_up(name)
    assert value is not None and target is not None
    overrides.values[target[1].full(target[0].name.text)] = value
