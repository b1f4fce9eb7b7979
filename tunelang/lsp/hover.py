"""What is said of the word under the cursor: its meaning, its default, its value here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tunelang.lsp.document import Document
from tunelang.lsp.hints import in_words
from tunelang.lsp.inside import Inside, expected, field_at, written_path
from tunelang.lsp.navigate import role_at
from tunelang.lsp.roles import Role
from tunelang.lsp.words import KINDS, takes, unit, variant_docs
from tunelang.metrics import METRICS
from tunelang.recipe import kinds
from tunelang.recipe.model import Choice, Declared, Given
from tunelang.recipe.schema import Field, Variant
from tunelang.recipe.show import literal
from tunelang.source import Span


@dataclass(frozen=True)
class Hover:
    """Markdown about a word."""

    span: Span
    text: str


def hover(document: Document, offset: int) -> Hover | None:
    """What there is to say of a place; None where that is nothing."""
    role = role_at(document, offset)
    if role is None:
        return None
    text = _SAY[role.kind](role, document) if role.kind in _SAY else ""
    return Hover(role.token.span, text) if text else None


def _kind(role: Role, document: Document) -> str:
    word = role.token.text
    return f"**{word}**: {KINDS[word]}" if word in KINDS else ""


def _method(role: Role, document: Document) -> str:
    method = kinds.methods().get(role.token.text)
    if method is None:
        return ""
    lines = [f"**{method.name}** (version {method.version}): {method.doc}"]
    lines += [f"takes {', '.join(method.formats)} rows; measures {', '.join(method.metrics)}"]
    name = role.item[1].text if len(role.item) > 1 else ""
    return "\n\n".join([*lines, *_planned(name, document)])


def _planned(name: str, document: Document) -> list[str]:
    step = document.step(name)
    return in_words(step) if step else []


def _type(role: Role, document: Document) -> str:
    each = kinds.PARAM_TYPES.get(role.token.text)
    return f"**{role.token.text}**: {each.doc}" if each else ""


def _unit(role: Role, document: Document) -> str:
    return unit(role.token.text)


def _metric(role: Role, document: Document) -> str:
    metric = METRICS.get(role.path)
    if metric is None:
        return ""
    better = "" if metric.better == "neither" else f"; {metric.better} is better"
    return f"**{metric.name}** ({metric.unit}{better}): {metric.doc}"


def _field(role: Role, document: Document) -> str:
    """A field's page: what it is, what it takes, its default, and its value here."""
    if role.token.text in ("gate", "axes") and role.path == role.token.text:
        return f"**{role.path}**: {KINDS[role.path]}"
    each = role.around.fields.get(role.path) or field_at(role.around, role.path)
    if each is None:
        return ""
    lines = [f"**{role.path}**: {each.doc}", f"takes {takes(each.type)}{_default(each)}"]
    lines += [_now(role.around, role.path, document)]
    if each.later:
        lines.append("checked and planned; no worker of this version carries it out yet")
    return "\n\n".join(line for line in lines if line)


def _default(each: Field) -> str:
    if each.default is not None:
        return f"; default `{each.default}`"
    return "; may be left out" if each.optional else ""


def _now(around: Inside, path: str, document: Document) -> str:
    """`here: 2e-5 (default of sft 1)`: the value that counts and the layer that gave it."""
    declared = document.declared(around.owner)
    given = _given(declared, around.path, path) if declared else None
    if given is None:
        return ""
    origin = given.origin
    if given.span:
        line, _ = given.span.source.position(given.span.start)
        origin += f", line {line}"
    return f"here: `{literal(given.value)}` ({origin})"


def _given(declared: Declared, prefix: str, path: str) -> Given | None:
    """The settled value at a path, in a variant where the path leads into one."""
    head, _, last = f"{prefix}{path}".rpartition(".")
    chosen = declared.get(head)
    inner = chosen.values.get(last) if isinstance(chosen, Choice) else None
    return inner or declared.values.get(f"{prefix}{path}") or declared.values.get(path)


def _name(role: Role, document: Document) -> str:
    target = document.scope.look_up(role.name)
    if target is None:
        return ""
    declaration, where, _ = target
    full = where.full(declaration.name.text)
    kind = declaration.type.text if declaration.type else ""
    head = f"{declaration.kind.text} {full}" + (f": {kind}" if kind else "")
    value = f" = {declaration.value.span.text}" if declaration.value else ""
    lines = [f"```tune\n{head}{value}\n```", declaration.doc]
    lines += [*_planned(full, document), _chosen(document.declared(full))]
    return "\n\n".join(line for line in lines if line)


def _chosen(declared: Declared | None) -> str:
    """What a person wrote of a declaration, value by value."""
    written = {k: v for k, v in declared.values.items() if v.span} if declared else {}
    return "\n".join(f"- {path} = `{literal(each.value)}`" for path, each in written.items())


def _symbol(role: Role, document: Document) -> str:
    """A word of a field, with the field's own page below it."""
    word = role.token.text
    docs = variant_docs().get(word, "")
    lines = [f"**{word}**: {docs}" if docs else f"**{word}**"]
    wanted = expected(role.around, role.item, document.scope)
    if isinstance(wanted, Variant):
        fields = wanted.shapes.get(word, {})
        lines += [
            "\n".join(f"- {name}: {each.doc}{_default(each)}" for name, each in fields.items())
        ]
    path = written_path(role.item)
    each = field_at(role.around, path)
    lines += [f"{path}: {each.doc}" if each else ""]
    return "\n\n".join(line for line in lines if line)


_SAY: dict[str, Callable[[Role, Document], str]] = {
    "kind": _kind,
    "keyword": _kind,
    "method": _method,
    "type": _type,
    "unit": _unit,
    "metric": _metric,
    "field": _field,
    "name": _name,
    "symbol": _symbol,
    "variant": _symbol,
}
