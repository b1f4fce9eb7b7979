"""What may stand at a place: the fields of the block or call around it, and the expected type."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from tunelang.lsp.place import Frame, Place
from tunelang.metrics import METRICS
from tunelang.recipe import kinds
from tunelang.recipe.fields import BY_KIND
from tunelang.recipe.gates import BOUNDS, ENFORCE
from tunelang.recipe.names import Scope
from tunelang.recipe.schema import Either, Field, Group, ListOf, Ratio, Type, Variant
from tunelang.recipe.typed import flat
from tunelang.syntax.tree import Declaration, Token

Kind = Literal[
    "file", "body", "mix", "call", "list", "gate", "metric", "profile", "axes", "nothing"
]


@dataclass(frozen=True)
class Inside:
    """The inside of a bracket. `owner` is the declaration it belongs to, `path` where in it."""

    kind: Kind
    fields: Mapping[str, Field] = field(default_factory=dict)
    owner: str = ""
    path: str = ""
    item: Type | None = None  # of a list
    method: str = ""


FILE = Inside("file")
NOTHING = Inside("nothing")


def inside(place: Place, scope: Scope) -> Inside:
    """The innermost bracket around a place."""
    return of_frames(place.frames, scope)


def of_frames(frames: Sequence[Frame], scope: Scope) -> Inside:
    """The inside of the last of some brackets, the outermost first."""
    found = FILE
    for frame in frames:
        found = _step(found, frame, scope)
    return found


class Insides:
    """Remembers the inside of brackets while a file is walked from its start to its end."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.known: list[tuple[Frame, Inside]] = []

    def of(self, frames: Sequence[Frame]) -> Inside:
        """The inside of the innermost; only brackets that are new are looked at."""
        same = 0
        while same < min(len(frames), len(self.known)) and self.known[same][0] is frames[same]:
            same += 1
        del self.known[same:]
        for frame in frames[same:]:
            around = self.known[-1][1] if self.known else FILE
            self.known.append((frame, _step(around, frame, self.scope)))
        return self.known[-1][1] if self.known else FILE


def _step(around: Inside, frame: Frame, scope: Scope) -> Inside:
    if frame.opener.kind == "LBRACE":
        return _body(around, [token.text for token in frame.head], scope)
    if frame.opener.kind == "LPAR":
        return _call(around, frame.head, scope)
    wanted = expected(around, frame.head, scope)
    lists = [each for each in alternatives(wanted) if isinstance(each, ListOf)]
    return Inside("list", owner=around.owner, item=lists[0].item) if lists else NOTHING


def _body(around: Inside, head: list[str], scope: Scope) -> Inside:
    if not head:
        return NOTHING
    if around.kind == "file":
        return _declaration(head, scope)
    if around.kind == "profile":
        return _every(head[1]) if head[0] == "every" and len(head) > 1 else named(head[0], scope)
    if head == ["axes"] and "mode" in around.fields:
        return Inside("axes", owner=around.owner)
    if head == ["gate"] and around.method:
        return Inside("gate", ENFORCE, around.owner, "gate.", method=around.method)
    each = around.fields.get(head[0])
    if each and isinstance(each.type, Group):
        return Inside("body", each.type.fields, around.owner, f"{around.path}{head[0]}.")
    return NOTHING


def _declaration(head: list[str], scope: Scope) -> Inside:
    kind, name = head[0], head[1] if len(head) > 1 else ""
    if kind == "profile":
        return Inside("profile", owner=name)
    if kind in ("defaults", "every"):
        return _every(name)
    if kind == "stage":
        method = _method(head, scope)
        known = kinds.methods().get(method)
        return Inside("body", known.fields if known else {}, name, method=method or "?")
    if kind in BY_KIND:
        return Inside("mix" if kind == "mix" else "body", kinds.fields(kind), name)
    return NOTHING


def _every(kind: str) -> Inside:
    """The fields that any declaration of a kind has."""
    if kind == "gate":
        return Inside("gate", ENFORCE)
    if kind == "stage":
        every = [method.fields for method in kinds.methods().values()]
        return Inside("body", {k: v for fields in reversed(every) for k, v in fields.items()})
    return Inside("body", kinds.fields(kind)) if kind in BY_KIND else NOTHING


def _method(head: list[str], scope: Scope) -> str:
    """The method behind the colon, or that of what the stage extends."""
    if ":" in head[:-1]:
        return head[head.index(":") + 1]
    if "extends" in head[:-1]:
        target = scope.look_up("".join(head[head.index("extends") + 1 :]))
        return method_of(target[0], target[1]) if target else ""
    return ""


def method_of(declaration: Declaration, scope: Scope) -> str:
    """A stage's method, its own or its parent's."""
    for _ in range(20):  # a chain of parents longer than this is a circle
        if declaration.type:
            return declaration.type.text
        target = scope.look_up(declaration.extends.text) if declaration.extends else None
        if target is None:
            break
        declaration, scope, _ = target
    return ""


def named(name: str, scope: Scope) -> Inside:
    """The inside of a declaration that is named from elsewhere."""
    target = scope.look_up(name)
    if target is None:
        return NOTHING
    declaration, where, _ = target
    full = where.full(declaration.name.text)
    if declaration.kind.text == "stage":
        method = method_of(declaration, where)
        known = kinds.methods().get(method)
        return Inside("body", known.fields if known else {}, full, method=method or "?")
    kind = declaration.kind.text
    return Inside("body", kinds.fields(kind), full) if kind in BY_KIND else NOTHING


def _call(around: Inside, head: Sequence[Token], scope: Scope) -> Inside:
    before, callee = _callee(head)
    if around.kind == "gate" and not before:
        return Inside("metric", owner=callee)
    owner, path = around.owner, f"{around.path}{written_path(before)}."
    lifted: Mapping[str, Field] = {}
    if around.kind == "file" and len(before) > 2:
        owner, path, lifted = before[1].text, "from.", _lifted(before[0].text)
    for each in alternatives(expected(around, before, scope)):
        if isinstance(each, Variant) and callee in each.shapes:
            return Inside("call", {**each.shapes[callee], **lifted}, owner, path)
    return NOTHING


def _callee(head: Sequence[Token]) -> tuple[Sequence[Token], str]:
    """The item before the call's path, and the path."""
    start = len(head)
    while start and head[start - 1].kind in ("NAME", "DOT"):
        start -= 1
    return head[:start], "".join(token.text for token in head[start:])


def _lifted(kind: str) -> Mapping[str, Field]:
    """`data d = hf("x", format = chat)`: the kind's own fields stand beside the source's."""
    return {k: v for k, v in kinds.fields(kind).items() if k != "from"} if kind in BY_KIND else {}


def written_path(item: Sequence[Token]) -> str:
    """What stands left of `=`, without blanks."""
    left: list[str] = []
    for token in item:
        if token.kind == "EQ":
            return "".join(left)
        left.append(token.text)
    return ""


def expected(around: Inside, item: Sequence[Token], scope: Scope) -> Type | None:
    """The type of the value that is written after these tokens of an item."""
    if around.kind == "list":
        return around.item
    if any(token.kind == "CMP" for token in item):
        return _bound(item[0].text)
    path = written_path(item)
    if not path:
        fields = list(around.fields.values())
        return fields[0].type if around.kind == "call" and fields else None
    if around.kind == "file":
        return _of_declaration(item)
    if around.kind in ("profile", "axes"):
        wanted = of_path(path, scope)
        return ListOf(wanted) if wanted and around.kind == "axes" else wanted
    each = field_at(around, path)
    return each.type if each else Ratio() if around.kind == "mix" else None


def _bound(metric: str) -> Type:
    return BOUNDS[METRICS[metric].unit] if metric in METRICS else Ratio()


def _of_declaration(item: Sequence[Token]) -> Type | None:
    """`data d = `: where rows come from. `param p: int = `: the type that is named."""
    kind, texts = item[0].text, [token.text for token in item]
    if kind == "param" and ":" in texts[:-1]:
        each = kinds.PARAM_TYPES.get(texts[texts.index(":") + 1])
        return each.type if each else None
    fields = kinds.fields(kind) if kind in BY_KIND else {}
    return fields["from"].type if "from" in fields else None


def of_path(path: str, scope: Scope) -> Type | None:
    """The type of a path that a profile or a sweep writes: `chat.lr`, `window`."""
    target = scope.look_up(path)
    if target is None:
        return None
    declaration, where, rest = target
    if rest:
        each = field_at(named(where.full(declaration.name.text), scope), rest)
        return each.type if each else None
    if declaration.kind.text == "param" and declaration.type:
        each = kinds.PARAM_TYPES.get(declaration.type.text)
        return each.type if each else None
    known = kinds.fields(declaration.kind.text) if declaration.kind.text in BY_KIND else {}
    return known["from"].type if "from" in known else None


def field_at(around: Inside, path: str) -> Field | None:
    """A field by its dotted path, through groups and into variants (`weights.rank`)."""
    known = flat(around.fields)
    if path in known:
        return known[path]
    head, _, last = path.rpartition(".")
    wanted = known[head].type if head in known else None
    shapes = wanted.shapes.values() if isinstance(wanted, Variant) else ()
    return next((shape[last] for shape in shapes if last in shape), None)


def alternatives(wanted: Type | None) -> tuple[Type, ...]:
    """A type's alternatives, itself where it has none."""
    if wanted is None:
        return ()
    return wanted.types if isinstance(wanted, Either) else (wanted,)
