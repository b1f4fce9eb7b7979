"""Where a value comes from: every layer that has one for a path, the one that counts marked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from tunelang.diagnostic import Diagnostic, error
from tunelang.recipe import kinds
from tunelang.recipe.layers import Layer, Written
from tunelang.recipe.model import Choice, Declared, Given
from tunelang.recipe.names import Scope, did_you_mean, nearest
from tunelang.recipe.overrides import Settings, collect
from tunelang.recipe.resolve import Resolved
from tunelang.recipe.schema import Field, Variant
from tunelang.recipe.settle import Work, layers_of
from tunelang.recipe.show import literal
from tunelang.recipe.typed import flat
from tunelang.source import Span
from tunelang.syntax.tree import Call, Declaration, Path, Value
from tunelang.units import number

NOTHING = "nothing"
ENFORCE = "gate.enforce"
WIDEST = 60  # columns of a value; the place behind it is what one looks for


@dataclass(frozen=True)
class Rung:
    """One layer's value as it is written there, highest layer first."""

    text: str
    place: str
    layer: str
    used: bool = False


@dataclass(frozen=True)
class Ladder:
    """A path, its settled value, and where it could have come from."""

    path: str
    value: str
    rungs: tuple[Rung, ...]


@dataclass(frozen=True)
class _Asked:
    """A declaration, what was settled of it, and its layers, lowest first."""

    declaration: Declaration
    declared: Declared
    scope: Scope
    layers: list[Layer]


def why(path: str, resolved: Resolved, settings: Settings) -> list[Ladder] | Diagnostic:
    """The ladders of a path: one, or those of every field of a block or declaration."""
    scope, recipe = resolved.scope, resolved.recipe
    assert scope is not None and recipe is not None
    if path.startswith("budget."):
        given = recipe.budget.get(path.removeprefix("budget."))
        return [Ladder(path, literal(given.value), (_alone(given),))] if given else _no(path, scope)
    target = scope.look_up(path)
    if target is None:
        return _no(path, scope)
    declaration, owner, rest = target
    work = Work([], collect(scope, settings, []), set())
    full = owner.full(declaration.name.text)
    if declaration.kind.text in ("let", "param"):
        return [_named(declaration, owner, work)] if not rest else _no(path, scope)
    declared = recipe.declared.get(full)
    if declared is None:
        return _no(path, scope)
    asked = _Asked(declaration, declared, owner, layers_of(declaration, owner, work))
    found = [each for field in _fields(rest, declared) for each in _ladders(field, asked, work)]
    return found or _no(path, scope, declared)


def _alone(given: Given) -> Rung:
    assert given.span is not None
    return Rung(given.span.text, _place(given.span), "in the budget", used=True)


def _fields(rest: str, declared: Declared) -> list[str]:
    """The fields that a path names: itself, all of a block, or all of a declaration."""
    known = [*_known(declared), *(part.name for part, _ in declared.parts)]
    known += ["gate", ENFORCE] if declared.checks else []
    head, _, inner = rest.rpartition(".")
    field = _known(declared).get(head)
    if isinstance(field and field.type, Variant) and inner in _shape(declared, head):
        return [rest]
    return [each for each in known if each == rest or not rest or each.startswith(f"{rest}.")]


def _known(declared: Declared) -> dict[str, Field]:
    return flat(declared.method.fields if declared.method else kinds.fields(declared.kind))


def _shape(declared: Declared, head: str) -> dict[str, Field]:
    """The fields of the variant that was chosen."""
    chosen, kind = declared.get(head), _known(declared)[head].type
    assert isinstance(kind, Variant)
    return dict(kind.shapes[chosen.name]) if isinstance(chosen, Choice) else {}


def _ladders(field: str, asked: _Asked, work: Work) -> Iterator[Ladder]:
    """The ladder of one field, and of the `let` or `param` its value is taken from."""
    name = f"{asked.declared.name}.{field}"
    if field in ("gate", ENFORCE):
        yield _checks(name, asked) if field == "gate" else _enforce(name, asked)
        return
    given = _given(field, asked.declared)
    rungs: list[Rung] = []
    through: list[Ladder] = []
    for layer in reversed(asked.layers):
        for written, value in _written(field, layer, asked.declared):
            used = given is not None and value.span == given.span
            rungs.append(Rung(_text(value.span), _place(value.span), _layer(written.origin), used))
            through += _through(value, written.scope, work) if used else []
    rungs += _default(field, asked.declared, used=given is not None and given.is_default)
    yield Ladder(name, _value(field, given, asked.declared), tuple(rungs))
    yield from through


def _value(field: str, given: Given | None, declared: Declared) -> str:
    if given is None:
        return NOTHING
    share = any(part.name == field for part, _ in declared.parts)
    return f"{number(given.value * 100)}%" if share else literal(given.value)


def _given(field: str, declared: Declared) -> Given | None:
    """The settled value of a field, of a field of its variant, or of a share of a mix."""
    share = next((share for part, share in declared.parts if part.name == field), None)
    if share or field in declared.values:
        return share or declared.values[field]
    head, _, inner = field.rpartition(".")
    chosen = declared.get(head)
    return chosen.values.get(inner) if isinstance(chosen, Choice) else None


def _written(field: str, layer: Layer, declared: Declared) -> Iterator[tuple[Written, Value]]:
    """What a layer writes for a field: itself, or as an argument of the variant around it."""
    if field in layer.values:
        yield layer.values[field], layer.values[field].value
    head, _, inner = field.rpartition(".")
    around = layer.values.get(head)
    if around is None or not isinstance(around.value, Call):
        return
    order = _order(declared, head, around.value.path.text)
    for index, argument in enumerate(around.value.arguments):
        name = argument.name.text if argument.name else "".join(order[index : index + 1])
        if name == inner:
            yield around, argument.value


def _order(declared: Declared, head: str, name: str) -> list[str]:
    """The fields of a variant, which arguments without a name set in turn."""
    kind = _known(declared)[head].type
    return list(kind.shapes.get(name, ())) if isinstance(kind, Variant) else []


def _through(value: Value, scope: Scope, work: Work) -> list[Ladder]:
    target = scope.look_up(value.text) if isinstance(value, Path) else None
    named = target is not None and target[0].kind.text in ("let", "param")
    return [_named(target[0], target[1], work)] if target and named else []


def _named(declaration: Declaration, scope: Scope, work: Work) -> Ladder:
    """The ladder of a `let` or `param`: what lies over it, and its own value."""
    name = scope.full(declaration.name.text)
    over = work.overrides.values.get(name)
    rungs: list[Rung] = []
    if over is not None:
        rungs.append(Rung(over.span.text, _place(over.span), _over(over.span), used=True))
    if declaration.value is not None:
        own = declaration.value.span
        kind = f"in {declaration.kind.text} {declaration.name.text}"
        rungs.append(Rung(own.text, _place(own), kind, used=over is None))
    return Ladder(name, rungs[0].text if rungs else NOTHING, tuple(rungs))


def _over(span: Span) -> str:
    return "on the command line" if span.source.name.startswith("--") else "in the profile"


def _enforce(name: str, asked: _Asked) -> Ladder:
    """Whether a gate stops the run; every gate does unless a layer says otherwise."""
    written = [layer.values[ENFORCE] for layer in reversed(asked.layers) if ENFORCE in layer.values]
    rungs = [Rung(_text(w.value.span), _place(w.value.span), _layer(w.origin)) for w in written]
    rungs.append(Rung("true", "kind gate", "default"))
    rungs[0] = replace(rungs[0], used=True)
    return Ladder(name, literal(asked.declared.enforce), tuple(rungs))


def _checks(name: str, asked: _Asked) -> Ladder:
    """The last layer that has checks replaces those of all others."""
    rungs: list[Rung] = []
    for layer in reversed(asked.layers):
        if layer.checks:
            spans = [check.span for check, _ in layer.checks]
            text = "; ".join(span.text for span in spans)
            rungs.append(Rung(text, _place(spans[0]), "", used=not rungs))
    return Ladder(name, rungs[0].text if rungs else NOTHING, tuple(rungs))


def _default(field: str, declared: Declared, *, used: bool) -> list[Rung]:
    """The lowest rung: what holds where nobody writes anything."""
    owner = f"method {declared.method.name}" if declared.method else f"kind {declared.kind}"
    known = _known(declared)
    each = known.get(field)
    if each is None:
        head, _, inner = field.rpartition(".")
        shape = _shape(declared, head) if head in known else {}
        each, owner = shape.get(inner), f"{declared.get(head).name}" if shape else owner
    return [Rung(each.default, owner, "default", used)] if each and each.default else []


def _text(span: Span) -> str:
    """As it is written, on one line."""
    text = " ".join(span.text.split())
    return text if len(text) <= WIDEST else f"{text[: WIDEST - 1]}…"


def _place(span: Span) -> str:
    """`clinic.tune:114`; what the command line says is its own place."""
    if span.source.name.startswith("--"):
        return span.source.name.split()[0]
    return f"{span.source.name}:{span.source.position(span.start)[0]}"


def _layer(origin: str) -> str:
    if origin == "--set":
        return "on the command line"
    parent = origin.removeprefix("extends ")
    return f"in {origin}" if parent == origin else f"in {parent}, which it extends"


def _no(path: str, scope: Scope, declared: Declared | None = None) -> Diagnostic:
    """TL101, with what was probably meant."""
    fields = _known(declared) if declared else ()
    names = [f"{declared.name}.{each}" for each in fields] if declared else []
    guess = nearest(path, names)
    if not names:
        names = [name for name, _ in scope.visible()]
        first, dot, rest = path.partition(".")
        nearby = nearest(first, names)
        guess = f"{nearby}{dot}{rest}" if nearby else None
    help = did_you_mean(guess) or f"there is {', '.join(names)}"
    return error("TL101", "unknown-name", f"`{path}` is no value of this recipe", None, help=help)
