"""One declaration: its family, its layers, its types and its gate -> a settled Declared."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from dataclasses import replace as change

from tunelang.diagnostic import Diagnostic, Label, error, replace
from tunelang.recipe import kinds
from tunelang.recipe.gates import read_checks
from tunelang.recipe.layers import Layer, flatten, lift, stack
from tunelang.recipe.mixes import read_mix
from tunelang.recipe.model import Declared
from tunelang.recipe.names import Scope, did_you_mean, nearest
from tunelang.recipe.overrides import Overrides
from tunelang.recipe.schema import Method
from tunelang.recipe.typed import Owner, chosen, flat, typed
from tunelang.recipe.values import Reading
from tunelang.syntax.tree import Declaration


@dataclass(frozen=True)
class Work:
    """What resolving one recipe carries along."""

    found: list[Diagnostic]
    overrides: Overrides
    used: set[str]

    def reading(self, scope: Scope) -> Reading:
        return Reading(scope, self.found, "", self.overrides.values, (), self.used)


def settle(declaration: Declaration, scope: Scope, work: Work) -> Declared | None:
    kind, name = declaration.kind.text, declaration.name.text
    family = list(_family(declaration, scope, work))
    method = _method(family, work) if kind == "stage" else None
    if kind == "stage" and method is None:
        return None
    layer = _layers(declaration, family, scope, work)
    word = chosen(layer, method, work.reading(scope)) if method else None
    mode = f", {word}" if word else ""
    method = method.modes.get(word, method) if method and word else method
    owner = Owner(
        method.fields if method else kinds.fields(kind),
        f"stage `{name}` ({method.name}{mode})" if method else f"{kind} `{name}`",
        f"default of {method.name} {method.version}" if method else f"default of {kind}",
        declaration.name.span,
    )
    gate, rest = _split_gate(layer)
    settled = Declared(kind, scope.full(name), declaration.name.span, {}, declaration.doc, method)
    reading = work.reading(scope)
    if kind == "mix":
        parts, rest = read_mix(rest, flat(owner.fields), reading)
        settled = change(settled, parts=parts)
    settled = change(settled, values=typed(rest, owner, reading))
    return read_checks(settled, gate, reading)


def _family(
    declaration: Declaration, scope: Scope, work: Work
) -> Iterator[tuple[Declaration, Scope]]:
    """The declaration, then what it extends, nearest first."""
    seen: list[Declaration] = []
    current, where = declaration, scope
    while True:
        seen.append(current)
        yield current, where
        if current.extends is None:
            return
        target = where.look_up(current.extends.text)
        problem = _extends_problem(current, target, seen, where)
        if problem or target is None:
            if problem not in work.found and problem:
                work.found.append(problem)
            return
        current, where = target[0], target[1]


def _extends_problem(
    child: Declaration,
    target: tuple[Declaration, Scope, str] | None,
    seen: list[Declaration],
    scope: Scope,
) -> Diagnostic | None:
    assert child.extends is not None
    path, span, kind = child.extends.text, child.extends.span, child.kind.text
    if target is None and scope.is_broken(path):
        return None
    if target is None:
        names = [name for name, other in scope.visible() if other.kind.text == kind]
        guess = nearest(path, names)
        return error(
            "TL101",
            "unknown-name",
            f"no {kind} named `{path}` is declared",
            span,
            "not declared",
            help=did_you_mean(guess),
            fix=replace(span, guess, safe=False) if guess else None,
        )
    parent = target[0]
    if parent.kind.text != kind:
        return error(
            "TL120",
            "extends-other-kind",
            f"a `{kind}` cannot extend a `{parent.kind.text}`",
            span,
            f"a `{parent.kind.text}`",
            others=(Label(parent.name.span, "declared here"),),
        )
    if parent in seen:
        return error(
            "TL107",
            "reference-cycle",
            f"`{child.name.text}` extends itself",
            span,
            "goes round in a circle",
        )
    return None


def _method(family: list[tuple[Declaration, Scope]], work: Work) -> Method | None:
    """A stage's method, its own or that of what it extends; TL104 where it is not known."""
    token = next((each.type for each, _ in family if each.type), None)
    known = kinds.methods()
    if token is None:
        child = family[0][0]
        if child.extends is None:
            work.found.append(
                error(
                    "TL104",
                    "unknown-method",
                    f"stage `{child.name.text}` does not say what it does",
                    child.name.span,
                    "has no method",
                    help=f"write `stage {child.name.text}: METHOD`; methods are {', '.join(known)}",
                )
            )
        return None
    if token.text not in known:
        guess = nearest(token.text, known)
        problem = error(
            "TL104",
            "unknown-method",
            f"there is no method `{token.text}`",
            token.span,
            "not a method",
            help=did_you_mean(guess) or f"methods are {', '.join(known)}",
            fix=replace(token.span, guess, safe=False) if guess else None,
        )
        if problem not in work.found:
            work.found.append(problem)
        return None
    return known[token.text]


def _layers(
    declaration: Declaration, family: list[tuple[Declaration, Scope]], scope: Scope, work: Work
) -> Layer:
    _report_body(declaration, scope, work)
    return stack(*_stacked(declaration, family, scope, work))


def layers_of(declaration: Declaration, scope: Scope, work: Work) -> list[Layer]:
    """What gives a declaration its values, lowest first: what `tunelang why` shows."""
    return _stacked(declaration, list(_family(declaration, scope, work)), scope, work)


def _stacked(
    declaration: Declaration, family: list[tuple[Declaration, Scope]], scope: Scope, work: Work
) -> list[Layer]:
    kind, name = declaration.kind.text, declaration.name.text
    low = [defaults(kind, scope)]
    middle = [_body(each, where, child=each is declaration) for each, where in reversed(family)]
    high = [*work.overrides.every.get(kind, ()), *work.overrides.named.get(scope.full(name), ())]
    return [*low, *middle, *high]


def defaults(kind: str, scope: Scope) -> Layer:
    """`defaults KIND` of the same file; a field that this method lacks is skipped."""
    layers = []
    for each in scope.defaults.get(kind, ()):
        layer = flatten(each.items or (), f"defaults {kind}", scope, [])
        soft = {path: change(w, optional_here=True) for path, w in layer.values.items()}
        layers.append(Layer(soft, layer.checks, layer.broken))
    return stack(*layers)


def _body(declaration: Declaration, scope: Scope, *, child: bool) -> Layer:
    kind, name = declaration.kind.text, declaration.name.text
    origin = f"{kind} {name}" if child else f"extends {name}"
    if declaration.value is not None:
        known = () if kind == "stage" else tuple(kinds.fields(kind))
        return lift(declaration, known, scope, origin)
    return flatten(declaration.items or (), origin, scope, [])


def _report_body(declaration: Declaration, scope: Scope, work: Work) -> None:
    """Duplicate and misplaced items are reported once, where they are declared."""
    flatten(declaration.items or (), "", scope, work.found)


def _split_gate(layer: Layer) -> tuple[Layer, Layer]:
    inside = {path: w for path, w in layer.values.items() if path.startswith("gate.")}
    outside = {path: w for path, w in layer.values.items() if path not in inside}
    return Layer(inside, layer.checks), Layer(outside, broken=layer.broken)
