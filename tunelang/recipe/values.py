"""Values: what stands right of `=` becomes what its field expects, or diagnostics in its words.

The expected type decides what a bare word means: a symbol of the field, else a declared name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import takewhile
from typing import Any

from tunelang.diagnostic import Diagnostic, Label, error, warning
from tunelang.diagnostic import replace as replace_text
from tunelang.recipe import schema
from tunelang.recipe.literals import Literal, read_literal
from tunelang.recipe.model import Choice, Given, Ref, Word
from tunelang.recipe.names import Scope, did_you_mean, nearest
from tunelang.recipe.quantities import QUANTITIES, describe
from tunelang.source import Source, Span
from tunelang.syntax.parse import parse
from tunelang.syntax.tree import Assignment, Call, Declaration, ListValue, Path, Scalar, Value

TRUTHY = {"yes": "true", "on": "true", "True": "true", "TRUE": "true",
          "no": "false", "off": "false", "False": "false", "FALSE": "false"}  # fmt: skip
# What early drafts of edition 1 called things.
RENAMED = {"jsonl": "files", "json": "files", "csv": "files", "parquet": "files"}
# What other tools call our fields, so that a habit gets the right answer.
FOREIGN = {
    "learning_rate": "lr", "batch_size": "batch", "num_epochs": "train", "num_train_epochs": "train", "epochs": "train",
    "max_steps": "train", "max_length": "length", "max_seq_length": "length", "sequence_len": "length", "dataset": "data",
    "base_model": "model", "adapter": "weights", "lr_scheduler": "schedule", "warmup_ratio": "schedule", "optim": "optimizer",
    "sample_packing": "packing", "gradient_clipping": "max_grad_norm", "val_set_size": "hold_out", "lora_r": "rank",
    "r": "rank", "lora_alpha": "alpha", "target_modules": "targets", "micro_batch_size": "micro",
}  # fmt: skip
NOTHING = ("null", "none", "None", "nil")


class Bad:
    """What a value becomes whose mistake has been reported."""


BAD = Bad()


@dataclass(frozen=True)
class Reading:
    """Where a value is read: its scope, its field's name, and where findings go."""

    scope: Scope
    found: list[Diagnostic]
    name: str
    params: Mapping[str, Value] = field(default_factory=dict)
    trail: tuple[str, ...] = ()
    used: set[str] = field(default_factory=set)  # full names of every let and param read

    def say(self, diagnostic: Diagnostic) -> Bad:
        if diagnostic not in self.found:
            self.found.append(diagnostic)
        return BAD


@cache
def parse_value(text: str, name: str = "default") -> Value | None:
    """The tree of a value that stands alone: a default, `--set`, `--param`."""
    source = Source(name, f"tune 1\nvalue = {text}\n")
    file, found = parse(source)
    if found or len(file.items) != 1 or not isinstance(file.items[0], Assignment):
        return None
    return file.items[0].value


def read(value: Value, expected: schema.Type, reading: Reading) -> Any:
    """The value as its type wants it, or BAD after saying why."""
    if isinstance(expected, schema.Either):
        return read(value, _fitting(value, expected), reading)
    if isinstance(value, Path):
        return _word(value, expected, reading)
    return _READERS[type(expected)](value, expected, reading)


def _fitting(value: Value, expected: schema.Either) -> schema.Type:
    """The alternative that the way of writing points at; the first where none does."""
    if isinstance(value, Scalar):
        literal = read_literal(value)
        dimension = literal.dimension if isinstance(literal, Literal) else ""
        return next((kind for kind in expected.types if _takes(kind, dimension)), expected.types[0])
    shapes: dict[type, tuple[type, ...]] = {
        ListValue: (schema.ListOf, schema.Rows),
        Call: (schema.Variant,),
        Path: (schema.Symbol, schema.Variant, schema.Reference),
    }
    fitting = (kind for kind in expected.types if isinstance(kind, shapes[type(value)]))
    return next(fitting, expected.types[0])


def _takes(kind: schema.Type, dimension: str) -> bool:
    """Whether a literal of this dimension is meant for a type."""
    if isinstance(kind, schema.Count):
        return dimension in kind.nouns
    plain: dict[str, tuple[type, ...]] = {
        "ratio": (schema.Ratio,),
        "number": (schema.Number, schema.Whole, schema.Ratio),
        "text": (schema.Text,),
        "flag": (schema.Flag,),
    }
    return isinstance(kind, plain.get(dimension, ()))


# --- bare words -------------------------------------------------------------------------------


def _word(path: Path, expected: schema.Type, reading: Reading) -> Any:
    words = _symbols(expected)
    text = path.text
    declared = reading.scope.look_up(text)
    if text in words:
        if declared and declared[0].kind.text in ("let", "param"):
            return reading.say(_shadowed(path, declared[0], reading))
        return Word(text) if isinstance(expected, schema.Symbol) else _variant(text, (), expected, reading, path.span)
    if isinstance(expected, schema.Reference):
        return _reference(path, expected, reading)
    if declared and declared[0].kind.text in ("let", "param"):
        return _named_value(declared, expected, reading)
    return reading.say(_unknown_word(path, words, declared, reading))


def _symbols(expected: schema.Type) -> tuple[str, ...]:
    if isinstance(expected, schema.Symbol):
        return expected.words
    if isinstance(expected, schema.Variant):
        return tuple(expected.shapes)
    return ()


def _shadowed(path: Path, declaration: Declaration, reading: Reading) -> Diagnostic:
    word = path.text
    return error(
        "TL113", "shadowed-symbol",
        f"`{word}` is a word of `{reading.name}` and also the name of a `{declaration.kind.text}`",
        path.span, "which of the two?", others=(Label(declaration.name.span, "declared here"),),
        help=f"rename the `{declaration.kind.text}`; words of a field always win",
    )  # fmt: skip


def _named_value(declared: tuple[Declaration, Scope, str], expected: schema.Type, reading: Reading) -> Any:
    """The value of a `let` or `param`, read as the field that uses it wants it."""
    declaration, scope, _ = declared
    full = scope.full(declaration.name.text)
    reading.used.add(full)
    if full in reading.trail:
        circle = " → ".join((*reading.trail, full))
        return reading.say(
            error("TL107", "reference-cycle", f"`{full}` needs itself: {circle}",
                  declaration.name.span, "goes round in a circle")  # fmt: skip
        )
    value = reading.params.get(full, declaration.value)
    if value is None:
        return reading.say(
            error("TL201", "wrong-type", f"`{full}` is a block, not a value", declaration.name.span)
        )
    return read(value, expected, replace(reading, scope=scope, trail=(*reading.trail, full)))


def _reference(path: Path, expected: schema.Reference, reading: Reading) -> Any:
    declared = reading.scope.look_up(path.text)
    if declared is None:
        return reading.say(_unknown_name(path, expected.kinds, reading))
    declaration, scope, rest = declared
    kind = declaration.kind.text
    if kind in ("let", "param"):
        return _named_value(declared, expected, reading)
    if kind not in expected.kinds:
        return reading.say(_wrong_kind(path, declaration, expected, reading))
    if rest not in ("", "hold_out"):
        return reading.say(_unknown_name(path, expected.kinds, reading))
    return Ref(kind, scope.full(declaration.name.text), hold_out=rest == "hold_out")


def _wrong_kind(path: Path, declaration: Declaration, expected: schema.Reference, reading: Reading) -> Diagnostic:
    names = [name for name, other in reading.scope.visible() if other.kind.text in expected.kinds]
    wanted = " or ".join(f"`{kind}`" for kind in expected.kinds)
    kind = declaration.kind.text
    return error(
        "TL114", "wrong-kind", f"`{reading.name}` needs a {wanted}, and `{path.text}` is a `{kind}`",
        path.span, f"a `{kind}`", others=(Label(declaration.name.span, "declared here"),),
        help=did_you_mean(nearest(path.text, names)) or (f"there is {_listed(names)}" if names else ""),
    )  # fmt: skip


def _unknown_name(path: Path, kinds: tuple[str, ...], reading: Reading) -> Diagnostic:
    names = [name for name, other in reading.scope.visible() if other.kind.text in kinds]
    guess = nearest(path.text, names)
    fix = replace_text(path.span, guess, safe=False) if guess else None
    wanted = " or ".join(kinds)
    return error(
        "TL101", "unknown-name", f"no {wanted} named `{path.text}` is declared", path.span,
        "not declared",
        help=did_you_mean(guess) or (f"there is {_listed(names)}" if names else f"declare it: {kinds[0]} {path.text} = ..."),
        fix=fix,
    )  # fmt: skip


def _unknown_word(
    path: Path, words: tuple[str, ...], declared: tuple[Declaration, Scope, str] | None, reading: Reading
) -> Diagnostic:
    text = path.text
    if text in TRUTHY:
        fixed = TRUTHY[text]
        return error("TL208", "truthy-word", f"`{text}` is not a boolean", path.span, f"write `{fixed}`",
                     help="booleans are `true` and `false`", fix=replace_text(path.span, fixed, safe=True))  # fmt: skip
    if text in NOTHING:
        return error("TL201", "wrong-type", f"`{reading.name}` cannot be `{text}`", path.span, "no such value",
                     help="leave the line out to get the default")  # fmt: skip
    if words:
        guess = nearest(text, words)
        fix = replace_text(path.span, guess, safe=False) if guess else None
        return error("TL210", "not-one-of", f"`{text}` is not one of the words of `{reading.name}`", path.span,
                     "not in the list", help=did_you_mean(guess) or f"it takes {_listed(words)}", fix=fix)  # fmt: skip
    names = [name for name, other in reading.scope.visible() if other.kind.text in ("let", "param")]
    guess = nearest(text, names)
    if declared:
        kind = declared[0].kind.text
        return error("TL114", "wrong-kind", f"`{reading.name}` needs a value, and `{text}` is a `{kind}`", path.span,
                     f"a `{kind}`", others=(Label(declared[0].name.span, "declared here"),))  # fmt: skip
    fix = replace_text(path.span, guess, safe=False) if guess else None
    return error("TL101", "unknown-name", f"no `let` or `param` named `{text}` is declared", path.span, "not declared",
                 help=did_you_mean(guess) or "strings stand in quotes", fix=fix)  # fmt: skip


def _listed(words: tuple[str, ...] | list[str]) -> str:
    quoted = [f"`{word}`" for word in words]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} and {quoted[-1]}"


# --- literals, lists, variants ------------------------------------------------------------------


def _scalar(value: Value, expected: schema.Type, reading: Reading) -> Any:
    """Numbers, quantities, text and booleans."""
    if not isinstance(value, Scalar):
        return reading.say(_not_a(value, expected, reading))
    literal = read_literal(value)
    if literal is None:
        return BAD
    if isinstance(literal, Diagnostic):
        return reading.say(literal)
    result = QUANTITIES[type(expected)](literal, expected, value, reading.name)
    return reading.say(result) if isinstance(result, Diagnostic) else result


def _not_a(value: Value, expected: schema.Type, reading: Reading) -> Diagnostic:
    got = {Call: "a call", ListValue: "a list", Scalar: "a literal", Path: "a word"}[type(value)]
    return error("TL201", "wrong-type", f"`{reading.name}` takes {describe(expected)}, not {got}",
                 value.span, f"expected {describe(expected)}")  # fmt: skip


def _list(value: Value, expected: schema.ListOf, reading: Reading) -> Any:
    if not isinstance(value, ListValue):
        return reading.say(_not_a(value, expected, reading))
    items = [read(item, expected.item, reading) for item in value.values]
    return BAD if any(item is BAD for item in items) else tuple(items)


def _rows(value: Value, expected: schema.Rows, reading: Reading) -> Any:
    if not isinstance(value, ListValue):
        return reading.say(_not_a(value, expected, reading))
    rows = [_row(item, reading) for item in value.values]
    return BAD if any(row is BAD for row in rows) else tuple(rows)


def _row(value: Value, reading: Reading) -> Any:
    """`"text"` or `row(prompt = "...", reply = "...")`."""
    if isinstance(value, Scalar):
        text = _scalar(value, schema.Text(), reading)
        return text if text is BAD else {"text": text}
    if not isinstance(value, Call) or value.path.text != "row" or not all(a.name for a in value.arguments):
        return reading.say(
            error("TL201", "wrong-type", "a row of `inline` is a string or `row(column = value, ...)`",
                  value.span, "not a row")  # fmt: skip
        )
    return {a.name.text: _cell(a.value, reading) for a in value.arguments if a.name}


def _cell(value: Value, reading: Reading) -> Any:
    literal = read_literal(value) if isinstance(value, Scalar) else None
    if isinstance(literal, Literal):
        return literal.value
    return reading.say(literal) if literal else reading.say(_not_a(value, schema.Text(), reading))


def _variant_call(value: Value, expected: schema.Variant, reading: Reading) -> Any:
    if not isinstance(value, Call):
        return reading.say(_not_a(value, expected, reading))
    name = value.path.text
    if name in RENAMED and RENAMED[name] in expected.shapes:
        name = _renamed(value.path, reading)
    if name not in expected.shapes:
        guess = nearest(name, expected.shapes)
        fix = replace_text(value.path.span, guess, safe=False) if guess else None
        code = ("TL104", "unknown-method") if reading.name == "weights" else ("TL210", "not-one-of")
        return reading.say(
            error(*code, f"`{name}` is not something `{reading.name}` knows", value.path.span, "unknown",
                  help=did_you_mean(guess) or f"it takes {_listed(tuple(expected.shapes))}", fix=fix)  # fmt: skip
        )
    arguments = []
    fields = list(expected.shapes[name])
    positional = _positional(expected.shapes[name])
    for index, argument in enumerate(value.arguments):
        if argument.name:
            arguments.append((argument.name.text, argument.value, argument.name.span))
        elif index < positional:
            arguments.append((fields[index], argument.value, argument.value.span))
        else:
            return reading.say(_unnamed(argument.value.span, name, fields, (index, positional)))
    return _variant(name, tuple(arguments), expected, reading, value.span)


def _renamed(path: Path, reading: Reading) -> str:
    """TL119: the name of an earlier draft still works, with a warning."""
    new = RENAMED[path.text]
    reading.say(
        warning("TL119", "deprecated-name", f"`{path.text}` is now called `{new}`", path.span,
                "renamed in edition 1", fix=replace_text(path.span, new, safe=True))  # fmt: skip
    )
    return new


def _positional(shape: Mapping[str, schema.Field]) -> int:
    """How many arguments may go without a name: the required ones that come first, at least one."""
    required = list(takewhile(lambda each: each.default is None and not each.optional, shape.values()))
    return min(len(shape), max(1, len(required)))


def _unnamed(span: Span, name: str, fields: list[str], where: tuple[int, int]) -> Diagnostic:
    index, positional = where
    expects = f"write `{fields[index]} = {span.text}`" if index < len(fields) else "one too many"
    first = "the first value" if positional == 1 else f"the first {positional} values"
    return error("TL201", "wrong-type", f"only {first} in `{name}(...)` may go without a name", span, expects)


Arguments = tuple[tuple[str, Value, Span], ...]


def _variant(name: str, arguments: Arguments, expected: schema.Variant, reading: Reading, span: Span) -> Any:
    """A Choice with every field of its shape: given, else default."""
    shape = expected.shapes[name]
    written: dict[str, Given] = {}
    bad = False
    for key, value, place in arguments:
        given = _argument(name, key, value, (shape, place, written), reading)
        bad |= given is BAD
        if isinstance(given, Given):
            written[key] = given
    missing = [key for key, each in shape.items() if not (key in written or each.default or each.optional)]
    if missing and not bad:
        reading.say(
            error("TL501", "missing-input", f"`{name}(...)` needs {_listed(missing)}", span, "incomplete",
                  help=f"`{missing[0]}` is {shape[missing[0]].doc}")  # fmt: skip
        )
    if bad or missing:
        return BAD
    return Choice(name, {**default_values(shape, f"default of {name}"), **written})


def _argument(
    name: str, key: str, value: Value, where: tuple[Mapping[str, schema.Field], Span, dict[str, Given]], reading: Reading
) -> Any:
    shape, span, written = where
    if key not in shape:
        return reading.say(unknown_field(span, key, f"`{name}`", shape))
    if key in written:
        return reading.say(
            error("TL106", "duplicate-field", f"`{key}` is given twice in `{name}(...)`", span, "again here")
        )
    result = read(value, shape[key].type, replace(reading, name=key))
    return BAD if result is BAD else Given(result, reading.name, value.span)


def unknown_field(span: Span, key: str, owner: str, known: Mapping[str, Any]) -> Diagnostic:
    """TL102: the field would be ignored."""
    foreign = FOREIGN.get(nearest(key, FOREIGN) or "")
    guess = nearest(key, known) or (foreign if foreign in known else None)
    fix = replace_text(span, guess, safe=False) if guess else None
    return error("TL102", "unknown-field", f"{owner} has no field `{key}`", span, "would be ignored",
                 help=did_you_mean(guess) or (f"it has {_listed(tuple(known))}" if known else ""), fix=fix)  # fmt: skip


def default_values(fields: Mapping[str, schema.Field], origin: str) -> dict[str, Given]:
    """Every default of a set of fields, read by the same code as what people write."""
    scope = _EMPTY
    found: dict[str, Given] = {}
    for name, each in fields.items():
        if isinstance(each.type, schema.Group):
            inner = default_values(each.type.fields, origin)
            found |= {f"{name}.{key}": value for key, value in inner.items()}
        elif each.default is not None:
            tree = parse_value(each.default)
            assert tree is not None, f"default of {name}: {each.default}"
            problems: list[Diagnostic] = []
            result = read(tree, each.type, Reading(scope, problems, name))
            assert not problems, f"default of {name}: {each.default}: {problems}"
            found[name] = Given(result, origin)
    return found


def _empty_scope() -> Scope:
    from pathlib import Path as FilePath

    from tunelang.syntax.tree import File

    return Scope(File(Source("default", ""), None, (), ()), FilePath())


_EMPTY = _empty_scope()
_READERS: dict[type, Callable[[Value, Any, Reading], Any]] = {
    **dict.fromkeys(QUANTITIES, _scalar),
    schema.Symbol: lambda value, expected, reading: reading.say(_not_a(value, expected, reading)),
    schema.Reference: lambda value, expected, reading: reading.say(_not_a(value, expected, reading)),
    schema.ListOf: _list,
    schema.Rows: _rows,
    schema.Variant: _variant_call,
}
