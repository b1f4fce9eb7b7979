"""Completion: what fits where the cursor stands, and nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import takewhile

from tunelang.lsp.document import Document
from tunelang.lsp.inside import Inside, alternatives, expected, inside, named, written_path
from tunelang.lsp.place import Place, writing
from tunelang.lsp.values import Candidate, units, values
from tunelang.lsp.words import KINDS, takes
from tunelang.metrics import METRICS
from tunelang.recipe import kinds
from tunelang.recipe.names import UNNAMED
from tunelang.recipe.schema import Field, Group, Reference, Type, Variant
from tunelang.source import Span
from tunelang.syntax.parse import OPEN
from tunelang.syntax.tree import Token

UNNAMED_VALUE = ""
NUMBERS = ("NUMBER", "MEASURE", "BAD_NUMBER")


@dataclass(frozen=True)
class Completion:
    """What may be written, and the text it takes the place of."""

    span: Span
    candidates: tuple[Candidate, ...]


def complete(document: Document, offset: int) -> Completion | None:
    """Everything that fits at a place; None in comments and strings."""
    here = writing(document.tokens, offset)
    if here is None:
        return None
    start = here.word.span.start if here.word else offset
    span = Span(document.source, start, here.word.span.end if here.word else offset)
    around = inside(here, document.scope)
    if here.word and here.word.kind in NUMBERS:
        return Completion(span, tuple(_glued(here, around, document)))
    found = {each.label: each for each in _candidates(here, around, document)}
    return Completion(span, tuple(found.values()))


def _glued(here: Place, around: Inside, document: Document) -> Iterator[Candidate]:
    """Units that touch their number: `80` becomes `80GB`."""
    assert here.word is not None
    digits = "".join(takewhile(lambda each: each in "-0123456789._", here.word.text))
    wanted = expected(around, here.item, document.scope)
    for unit, doc, touches in units(wanted):
        yield Candidate(f"{digits}{'' if touches else ' '}{unit}", "unit", doc)


def _candidates(here: Place, around: Inside, document: Document) -> Iterator[Candidate]:
    last = here.item[-1] if here.item else None
    written = any(token.kind in ("EQ", "CMP") for token in here.item)
    if last and last.kind in NUMBERS:
        wanted = expected(around, here.item, document.scope)
        yield from (Candidate(u, "unit", doc) for u, doc, touches in units(wanted) if not touches)
    elif around.kind == "list" or (written and last and last.kind in ("EQ", "CMP")):
        wanted = expected(around, here.item, document.scope)
        own = here.item[1].text if around.kind == "file" and len(here.item) > 2 else around.owner
        yield from values(wanted, document.scope, own)
    elif last and last.kind == "DOT":
        yield from _behind_dot(here, around, document)
    elif around.kind == "file":
        yield from _at_top(here, document)
    elif last is None:
        yield from _at_start(here, around, document)
    elif around.kind == "profile" and [token.text for token in here.item] == ["every"]:
        yield from (Candidate(kind, "kind") for kind in (*kinds.WITH_FIELDS, "gate"))


def _at_top(here: Place, document: Document) -> Iterator[Candidate]:
    """A declaration as it is written from left to right."""
    item = [token.text for token in here.item]
    if not item:
        yield from (Candidate(kind, "keyword", KINDS[kind]) for kind in ("import", *kinds.KINDS))
    elif item == ["defaults"]:
        yield from (Candidate(kind, "kind", KINDS[kind]) for kind in kinds.WITH_FIELDS)
    elif item[-1] == ":" and item[0] == "stage":
        methods = kinds.methods().values()
        yield from (Candidate(each.name, "method", each.doc) for each in methods)
    elif item[-1] == ":" and item[0] == "param":
        types = kinds.PARAM_TYPES.items()
        yield from (Candidate(name, "kind", each.doc) for name, each in types)
    elif item[-1] == "extends" and len(item) > 2:
        yield from _parents(item[0], item[1], document)
    elif len(item) > 1 and item[0] in kinds.KINDS and "extends" not in item:
        yield Candidate("extends", "keyword", KINDS["extends"])


def _parents(kind: str, name: str, document: Document) -> Iterator[Candidate]:
    if kind == "profile":
        every = [each for each in document.file.declarations() if each.kind.text == kind]
        names = [each.name.text for each in every]
    else:
        names = [key for key, each in document.scope.visible() if each.kind.text == kind]
    yield from (Candidate(each, "name", kind) for each in names if each != name)


def _at_start(here: Place, around: Inside, document: Document) -> Iterator[Candidate]:
    """The left side of an item: fields that are not written yet, or what the place has instead."""
    if around.kind in ("profile", "axes"):
        yield from (Candidate(k, "name", d.kind.text) for k, d in document.scope.visible())
        if around.kind == "profile":
            yield Candidate("every", "keyword", KINDS["every"])
        return
    taken = set(_written(here, document))
    fields = dict(around.fields)
    first = next(iter(fields), "")
    if around.kind == "call" and UNNAMED_VALUE in taken:
        fields.pop(first, None)
    for name, each in fields.items():
        if name not in taken:
            yield _field(name, each, block=around.kind != "call")
    if around.kind == "call" and not taken and first:
        yield from values(fields[first].type, document.scope, around.owner)
    yield from _special(around, document)


def _special(around: Inside, document: Document) -> Iterator[Candidate]:
    """Metrics in gates, their arguments, parts of a mix, blocks that are no field."""
    visible = list(document.scope.visible())
    if around.kind == "gate":
        method = kinds.methods().get(around.method)
        own = method.metrics if method else ()
        every = ((each.name, each.doc) for each in METRICS.values())
        yield from (Candidate(name, "metric", doc, first=name in own) for name, doc in every)
        yield from (Candidate(k, "name", "benchmark") for k, d in visible if _of(d, "benchmark"))
    elif around.kind == "metric":
        yield from (
            Candidate(word, "field", "a model", f"{word} = ") for word in ("versus", "judge")
        )
        yield from values(Reference(("data", "benchmark")), document.scope)
        data = (k for k, d in visible if _of(d, "data"))
        yield from (Candidate(f"{k}.hold_out", "name", "rows set aside") for k in data)
    elif around.kind == "mix":
        yield from (Candidate(k, "name", "data", f"{k} = ") for k, d in visible if _of(d, "data"))
    elif around.method and not around.path:
        yield Candidate("gate", "block", KINDS["gate"], "gate { ")
    elif "mode" in around.fields and "pick" in around.fields:
        yield Candidate("axes", "block", KINDS["axes"], "axes { ")


def _of(declaration: object, kind: str) -> bool:
    return getattr(getattr(declaration, "kind", None), "text", "") == kind


def _field(name: str, each: Field, *, block: bool) -> Candidate:
    group = isinstance(each.type, Group)
    insert = f"{name} {{ " if group and block else f"{name} = "
    default = f"; default {each.default}" if each.default else ""
    doc = f"{each.doc}\n\nTakes {takes(each.type)}{default}"
    required = each.default is None and not each.optional and not group
    return Candidate(name, "block" if group else "field", doc, insert, first=required)


def _written(here: Place, document: Document) -> Iterator[str]:
    """The names that items of the same bracket begin with."""
    start = here.frames[-1].start if here.frames else 0
    depth, begins = 0, True
    for index in range(start, len(document.tokens) - 1):
        token = document.tokens[index]
        depth += (token.kind in OPEN) - (token.kind in OPEN.values())
        if depth < 0:
            return
        separates = token.kind in ("NEWLINE", "COMMA")
        if begins and depth == 0 and not separates and index != here.index:
            named = document.tokens[index + 1].kind in ("EQ", "LBRACE", "DOT")
            yield token.text if token.kind == "NAME" and named else UNNAMED_VALUE
        begins = separates


def _behind_dot(here: Place, around: Inside, document: Document) -> Iterator[Candidate]:
    """`weights.`: fields of a group or variant. `alias.`: what the file declares."""
    words = [token for token in here.item if token.kind in ("NAME", "DOT")]
    path = "".join(token.text for token in _last_path(here.item)).rstrip(".")
    if words and not written_path(here.item):
        yield from _inner(path, around, document)
    for name, each in document.scope.visible():
        if name.startswith(f"{path}.") and each.kind.text not in UNNAMED:
            yield Candidate(name.removeprefix(f"{path}."), "name", each.kind.text)
    target = document.scope.look_up(path)
    if target and target[0].kind.text == "data" and written_path(here.item):
        yield Candidate("hold_out", "field", "rows set aside to measure on")


def _last_path(item: Iterable[Token]) -> list[Token]:
    found: list[Token] = []
    for token in reversed(list(item)):
        if token.kind not in ("NAME", "DOT"):
            break
        found.insert(0, token)
    return found


def _inner(path: str, around: Inside, document: Document) -> Iterator[Candidate]:
    """The fields behind a dotted path that is written left of `=`."""
    fields = dict(around.fields)
    if around.kind in ("profile", "axes"):
        name, _, path = path.partition(".")
        fields = dict(named(name, document.scope).fields)
        if not path:
            yield from (_field(key, each, block=False) for key, each in fields.items())
            return
    each = fields.get(path)
    yield from _opened(each.type if each else None)


def _opened(wanted: Type | None) -> Iterator[Candidate]:
    if isinstance(wanted, Group):
        yield from (_field(name, each, block=False) for name, each in wanted.fields.items())
    for kind in alternatives(wanted):
        for shape in kind.shapes.values() if isinstance(kind, Variant) else ():
            yield from (_field(name, each, block=False) for name, each in shape.items())
