"""Resolution: a file's tree becomes a Recipe. The order of names, layers, types and graph."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from dataclasses import replace as change
from pathlib import Path as FilePath

from tunelang.diagnostic import Diagnostic, Label, error, replace
from tunelang.recipe import kinds
from tunelang.recipe.gates import read_checks
from tunelang.recipe.layers import Layer, Written, flatten, lift, stack
from tunelang.recipe.load import load
from tunelang.recipe.mixes import read_mix
from tunelang.recipe.model import Declared, Given, Recipe
from tunelang.recipe.names import Scope, did_you_mean, nearest
from tunelang.recipe.overrides import Overrides, Settings, check_profiles, collect
from tunelang.recipe.schema import Method
from tunelang.recipe.typed import Owner, flat, typed
from tunelang.recipe.values import Reading
from tunelang.syntax.tree import Block, Broken, Declaration, Import


@dataclass(frozen=True)
class Resolved:
    """A recipe (as far as it is sound), its findings, and the names of every let and param read."""

    recipe: Recipe | None
    found: list[Diagnostic]
    scope: Scope | None = None
    used: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Work:
    """What resolving one recipe carries along."""

    found: list[Diagnostic]
    overrides: Overrides
    used: set[str]

    def reading(self, scope: Scope) -> Reading:
        return Reading(scope, self.found, "", self.overrides.values, (), self.used)


def resolve(path: FilePath, settings: Settings | None = None) -> Resolved:
    """Read a recipe file and settle it under one profile."""
    scope, found = load(path)
    if scope is None:
        return Resolved(None, found)
    return resolve_scope(scope, found, settings or Settings())


def resolve_scope(scope: Scope, found: list[Diagnostic], settings: Settings) -> Resolved:
    check_profiles(scope, found)
    work = Work(found, collect(scope, settings, found), set())
    declared: dict[str, Declared] = {}
    for each in scope.all_scopes():
        declared |= _declarations(each, work)
    _unknown_defaults(scope, work)
    recipe = Recipe(scope.file.source, scope.folder, declared, settings.profile, _budget(scope, work))
    return Resolved(recipe, _once(found), scope, work.used)


def _once(found: list[Diagnostic]) -> list[Diagnostic]:
    """Each finding once, however many layers or profiles led to it."""
    return list(dict.fromkeys(found))


def _declarations(scope: Scope, work: Work) -> dict[str, Declared]:
    declared: dict[str, Declared] = {}
    for item in scope.file.items:
        if isinstance(item, Declaration):
            _known_kind(item, work)
        elif isinstance(item, Block):
            _known_block(item, work)
        elif not isinstance(item, Broken | Import):
            work.found.append(error("TL201", "wrong-type", "this stands outside any declaration", item.span,
                                    "does not belong here", help="`let NAME = VALUE` names a value"))  # fmt: skip
    for name, declaration in scope.names.items():
        if declaration.kind.text in kinds.WITH_FIELDS:
            settled = _settle(declaration, scope, work)
            if settled:
                declared[scope.full(name)] = settled
        elif declaration.kind.text in ("let", "param"):
            _check_value(declaration, scope, work)
    return declared


def _known_kind(declaration: Declaration, work: Work) -> None:
    kind = declaration.kind
    if kind.text in kinds.KINDS:
        return
    if kind.text in kinds.methods():
        work.found.append(
            error("TL103", "unknown-kind", f"`{kind.text}` is a method, not a kind", kind.span, "a method",
                  help=f"write `stage {declaration.name.text}: {kind.text} {{ ... }}`")  # fmt: skip
        )
        return
    later = {"benchmark", "sweep", "publish"}
    why = "is not in this version of TuneLang" if kind.text in later else "is not a kind of declaration"
    guess = None if kind.text in later else nearest(kind.text, kinds.KINDS)
    fix = replace(kind.span, guess, safe=False) if guess else None
    work.found.append(
        error("TL103", "unknown-kind", f"`{kind.text}` {why}", kind.span, "not a kind",
              help=did_you_mean(guess) or f"kinds are {', '.join(kinds.KINDS)}", fix=fix)  # fmt: skip
    )


def _known_block(block: Block, work: Work) -> None:
    if block.name.text == "budget":
        return
    needs_name = block.name.text in kinds.KINDS
    guess = nearest(block.name.text, kinds.KINDS)
    help = f"write `{block.name.text} NAME {{ ... }}`" if needs_name else did_you_mean(guess)
    message = f"`{block.name.text}` has no name" if needs_name else f"`{block.name.text}` is not a kind of declaration"
    work.found.append(error("TL103", "unknown-kind", message, block.name.span, "not a declaration", help=help))


def _check_value(declaration: Declaration, scope: Scope, work: Work) -> None:
    """A param has a type and fits it; a let is read wherever it is used."""
    if declaration.value is None:
        work.found.append(error("TL006", "missing-value", f"`{declaration.name.text}` has no value",
                                declaration.name.span, "no value"))  # fmt: skip
    if declaration.kind.text == "let" or declaration.value is None:
        return
    wanted = declaration.type
    if wanted is None or wanted.text not in kinds.PARAM_TYPES:
        listed = ", ".join(kinds.PARAM_TYPES)
        span = wanted.span if wanted else declaration.name.span
        work.found.append(error("TL201", "wrong-type", f"param `{declaration.name.text}` needs a type", span,
                                "no such type" if wanted else "has no type", help=f"types are {listed}"))  # fmt: skip
        return
    name = declaration.name.text
    value = work.overrides.values.get(scope.full(name), declaration.value)
    fields = {name: kinds.PARAM_TYPES[wanted.text]}
    layer = Layer({name: Written(value, declaration.name.span, f"param {name}", scope)})
    typed(layer, Owner(fields, f"param `{name}`", "", declaration.name.span), work.reading(scope))


# --- one declaration ---------------------------------------------------------------------------


def _settle(declaration: Declaration, scope: Scope, work: Work) -> Declared | None:
    kind, name = declaration.kind.text, declaration.name.text
    family = list(_family(declaration, scope, work))
    method = _method(family, work) if kind == "stage" else None
    if kind == "stage" and method is None:
        return None
    fields = method.fields if method else kinds.fields(kind)
    owner = Owner(
        fields,
        f"stage `{name}`, a `{method.name}`," if method else f"{kind} `{name}`",
        f"default of {method.name} {method.version}" if method else f"default of {kind}",
        declaration.name.span,
    )
    layer = _layers(declaration, family, scope, work)
    gate, rest = _split_gate(layer)
    settled = Declared(kind, scope.full(name), declaration.name.span, {}, declaration.doc, method)
    reading = work.reading(scope)
    if kind == "mix":
        parts, rest = read_mix(rest, flat(fields), reading)
        settled = change(settled, parts=parts)
    settled = change(settled, values=typed(rest, owner, reading))
    return read_checks(settled, gate, reading)


def _family(declaration: Declaration, scope: Scope, work: Work) -> Iterator[tuple[Declaration, Scope]]:
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
    child: Declaration, target: tuple[Declaration, Scope, str] | None, seen: list[Declaration], scope: Scope
) -> Diagnostic | None:
    assert child.extends is not None
    path, span, kind = child.extends.text, child.extends.span, child.kind.text
    if target is None:
        names = [name for name, other in scope.visible() if other.kind.text == kind]
        guess = nearest(path, names)
        return error("TL101", "unknown-name", f"no {kind} named `{path}` is declared", span, "not declared",
                     help=did_you_mean(guess), fix=replace(span, guess, safe=False) if guess else None)  # fmt: skip
    parent = target[0]
    if parent.kind.text != kind:
        return error("TL120", "extends-other-kind", f"a `{kind}` cannot extend a `{parent.kind.text}`", span,
                     f"a `{parent.kind.text}`", others=(Label(parent.name.span, "declared here"),))  # fmt: skip
    if parent in seen:
        return error("TL107", "reference-cycle", f"`{child.name.text}` extends itself", span, "goes round in a circle")
    return None


def _method(family: list[tuple[Declaration, Scope]], work: Work) -> Method | None:
    """A stage's method, its own or that of what it extends; TL104 where there is none of that name."""
    token = next((each.type for each, _ in family if each.type), None)
    known = kinds.methods()
    if token is None:
        child = family[0][0]
        if child.extends is None:
            work.found.append(error("TL104", "unknown-method", f"stage `{child.name.text}` does not say what it does",
                                    child.name.span, "has no method",
                                    help=f"write `stage {child.name.text}: METHOD`; methods are {', '.join(known)}"))  # fmt: skip
        return None
    if token.text not in known:
        guess = nearest(token.text, known)
        problem = error("TL104", "unknown-method", f"there is no method `{token.text}`", token.span, "not a method",
                        help=did_you_mean(guess) or f"methods are {', '.join(known)}",
                        fix=replace(token.span, guess, safe=False) if guess else None)  # fmt: skip
        if problem not in work.found:
            work.found.append(problem)
        return None
    return known[token.text]


def _layers(declaration: Declaration, family: list[tuple[Declaration, Scope]], scope: Scope, work: Work) -> Layer:
    kind, name = declaration.kind.text, declaration.name.text
    low = [_defaults(kind, scope)]
    middle = [_body(each, where, child=each is declaration) for each, where in reversed(family)]
    _report_body(declaration, scope, work)
    high = [*work.overrides.every.get(kind, ()), *work.overrides.named.get(scope.full(name), ())]
    return stack(*low, *middle, *high)


def _defaults(kind: str, scope: Scope) -> Layer:
    """`defaults KIND` of the same file; a field that this method lacks is skipped."""
    layers = []
    for each in scope.file.declarations():
        if each.kind.text == "defaults" and each.name.text == kind:
            layer = flatten(each.items or (), f"defaults {kind}", scope, [])
            soft = {path: change(w, optional_here=True) for path, w in layer.values.items()}
            layers.append(Layer(soft, layer.checks))
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
    return Layer(inside, layer.checks), Layer(outside)


def _unknown_defaults(scope: Scope, work: Work) -> None:
    """TL102: a field of `defaults KIND` or `every KIND` that no declaration of the kind has."""
    for each in scope.file.declarations():
        if each.kind.text == "defaults":
            flatten(each.items or (), "", scope, work.found)
            if each.name.text not in kinds.WITH_FIELDS:
                guess = nearest(each.name.text, kinds.WITH_FIELDS)
                work.found.append(error("TL103", "unknown-kind", f"there is no kind `{each.name.text}`", each.name.span,
                                        "not a kind", help=did_you_mean(guess)))  # fmt: skip
                continue
            layer = _defaults(each.name.text, scope)
            _nobody_has(each.name.text, layer, scope, work)
    for kind, layers in work.overrides.every.items():
        for layer in layers:
            _nobody_has(kind, layer, scope, work)


def _nobody_has(kind: str, layer: Layer, scope: Scope, work: Work) -> None:
    if kind == "stage":
        known = {key: each for method in kinds.methods().values() for key, each in flat(method.fields).items()}
        known["gate.enforce"] = known["lr"]
    else:
        known = flat(kinds.fields(kind))
    for path, written in layer.values.items():
        head = path.rpartition(".")[0]
        if path in known or head in known:
            continue
        guess = nearest(path, known)
        work.found.append(error("TL102", "unknown-field", f"no {kind} has a field `{path}`", written.span,
                                "would be ignored", help=did_you_mean(guess),
                                fix=replace(written.span, guess, safe=False) if guess else None))  # fmt: skip


def _budget(scope: Scope, work: Work) -> dict[str, Given]:
    for item in scope.file.items:
        if isinstance(item, Block) and item.name.text == "budget":
            layer = flatten(item.items, "budget", scope, work.found)
            owner = Owner(kinds.fields("budget"), "`budget`", "", item.name.span)
            return typed(layer, owner, work.reading(scope))
    return {}


