"""Bare words: a symbol of the field, else a declared name. The expected type decides which."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tunelang.diagnostic import Diagnostic, Edit, Fix, Label, error
from tunelang.diagnostic import replace as replace_text
from tunelang.metrics import METRICS
from tunelang.recipe import schema
from tunelang.recipe.kinds import KINDS
from tunelang.recipe.model import Ref, Word
from tunelang.recipe.names import Scope, did_you_mean, nearest
from tunelang.recipe.reading import BAD, Reading, listed, read
from tunelang.recipe.variants import variant
from tunelang.syntax.tree import Declaration, Path

TRUTHY = {
    "yes": "true",
    "on": "true",
    "True": "true",
    "TRUE": "true",
    "no": "false",
    "off": "false",
    "False": "false",
    "FALSE": "false",
}
_BEFORE_USE = ("EQ", "LSQB", "LPAR", "COMMA", "CMP")  # tokens that a value stands behind
NOTHING = ("null", "none", "None", "nil")


def word(path: Any, expected: Any, reading: Reading) -> Any:
    """A word where any type is expected."""
    words = symbols(expected)
    text = path.text
    declared = reading.scope.look_up(text)
    if text in words:
        if declared and declared[0].kind.text in ("let", "param"):
            return reading.say(_shadowed(path, declared[0], reading))
        return (
            Word(text)
            if isinstance(expected, schema.Symbol)
            else variant(text, (), expected, reading, path.span)
        )
    if declared is None and reading.scope.is_broken(text):
        return BAD
    if isinstance(expected, schema.Reference):
        return _reference(path, expected, reading)
    if isinstance(expected, schema.MetricOf):
        return _metric(path, declared, reading)
    if declared and declared[0].kind.text in ("let", "param"):
        return _named_value(declared, expected, reading)
    problem = _unknown_word(path, words, declared, reading)
    if isinstance(expected, schema.Text) and problem.code == "TL101" and problem.fix is None:
        problem = replace(problem, fix=replace_text(path.span, f'"{text}"', safe=False))
    return reading.say(problem)


def symbols(expected: schema.Type) -> tuple[str, ...]:
    """The words that a type knows by itself."""
    if isinstance(expected, schema.Symbol):
        return expected.words
    if isinstance(expected, schema.Variant):
        return tuple(expected.shapes)
    return ()


def _shadowed(path: Path, declaration: Declaration, reading: Reading) -> Diagnostic:
    word = path.text
    return error(
        "TL113",
        "shadowed-symbol",
        f"`{word}` is a word of `{reading.name}` and also the name of a `{declaration.kind.text}`",
        path.span,
        "which of the two?",
        others=(Label(declaration.name.span, "declared here"),),
        help=f"rename the `{declaration.kind.text}`; words of a field always win",
        fix=_renamed(declaration, reading.scope),
    )


def _renamed(declaration: Declaration, scope: Scope) -> Fix | None:
    """The `let` or `param` and every use of it under another name; None where it is imported."""
    word, tokens = declaration.name.text, scope.file.tokens
    if scope.names.get(word) is not declaration:
        return None
    new = f"{word}_value"
    around = zip(tokens, tokens[1:], tokens[2:], strict=False)
    uses = [
        token.span
        for before, token, after in around
        if token.text == word and before.kind in _BEFORE_USE and after.kind not in ("EQ", "LPAR")
    ]
    edits = tuple(Edit(span, new) for span in (declaration.name.span, *uses))
    return Fix(f"{word} → {new}", edits, safe=False)


def _named_value(
    declared: tuple[Declaration, Scope, str], expected: schema.Type, reading: Reading
) -> Any:
    """The value of a `let` or `param`, read as the field that uses it wants it."""
    declaration, scope, _ = declared
    full = scope.full(declaration.name.text)
    reading.used.add(full)
    if full in reading.trail:
        circle = " → ".join((*reading.trail, full))
        return reading.say(
            error(
                "TL107",
                "reference-cycle",
                f"`{full}` needs itself: {circle}",
                declaration.name.span,
                "goes round in a circle",
            )
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
    if kind not in KINDS:
        return BAD  # that it is no kind has been said
    if kind not in expected.kinds:
        return reading.say(_wrong_kind(path, declaration, expected, reading))
    if rest not in ("", "hold_out"):
        return reading.say(_unknown_name(path, expected.kinds, reading))
    return Ref(kind, scope.full(declaration.name.text), hold_out=rest == "hold_out")


def _metric(path: Path, declared: tuple[Declaration, Scope, str] | None, reading: Reading) -> Any:
    """`STAGE.gate.METRIC`: what a gate of that stage measures."""
    if declared is None:
        return reading.say(_unknown_name(path, ("stage",), reading))
    block, _, name = declared[2].partition(".")
    if declared[0].kind.text == "stage" and block == "gate" and name in METRICS:
        return path.text
    guess = nearest(name, METRICS)
    return reading.say(
        error(
            "TL101",
            "unknown-name",
            f"`{path.text}` is not a metric of a stage's gate",
            path.span,
            "not a metric",
            help=f"write `STAGE.gate.{guess or 'METRIC'}`; metrics are {listed(list(METRICS))}",
        )
    )


def _wrong_kind(
    path: Path, declaration: Declaration, expected: schema.Reference, reading: Reading
) -> Diagnostic:
    names = [name for name, other in reading.scope.visible() if other.kind.text in expected.kinds]
    wanted = " or ".join(f"`{kind}`" for kind in expected.kinds)
    kind = declaration.kind.text
    return error(
        "TL114",
        "wrong-kind",
        f"`{reading.name}` needs a {wanted}, and `{path.text}` is a `{kind}`",
        path.span,
        f"a `{kind}`",
        others=(Label(declaration.name.span, "declared here"),),
        help=did_you_mean(nearest(path.text, names))
        or (f"there is {listed(names)}" if names else ""),
    )


def _unknown_name(path: Path, kinds: tuple[str, ...], reading: Reading) -> Diagnostic:
    names = [name for name, other in reading.scope.visible() if other.kind.text in kinds]
    guess = nearest(path.text, names)
    fix = replace_text(path.span, guess, safe=False) if guess else None
    wanted = " or ".join(kinds)
    return error(
        "TL101",
        "unknown-name",
        f"no {wanted} named `{path.text}` is declared",
        path.span,
        "not declared",
        help=did_you_mean(guess)
        or (f"there is {listed(names)}" if names else f"declare it: {kinds[0]} {path.text} = ..."),
        fix=fix,
    )


def _unknown_word(
    path: Path,
    words: tuple[str, ...],
    declared: tuple[Declaration, Scope, str] | None,
    reading: Reading,
) -> Diagnostic:
    text = path.text
    if text in TRUTHY:
        fixed = TRUTHY[text]
        return error(
            "TL208",
            "truthy-word",
            f"`{text}` is not a boolean",
            path.span,
            f"write `{fixed}`",
            help="booleans are `true` and `false`",
            fix=replace_text(path.span, fixed, safe=True),
        )
    if text in NOTHING:
        return error(
            "TL201",
            "wrong-type",
            f"`{reading.name}` cannot be `{text}`",
            path.span,
            "no such value",
            help="leave the line out to get the default",
        )
    if words:
        guess = nearest(text, words)
        fix = replace_text(path.span, guess, safe=False) if guess else None
        return error(
            "TL210",
            "not-one-of",
            f"`{text}` is not one of the words of `{reading.name}`",
            path.span,
            "not in the list",
            help=did_you_mean(guess) or f"it takes {listed(words)}",
            fix=fix,
        )
    names = [name for name, other in reading.scope.visible() if other.kind.text in ("let", "param")]
    guess = nearest(text, names)
    if declared:
        kind = declared[0].kind.text
        return error(
            "TL114",
            "wrong-kind",
            f"`{reading.name}` needs a value, and `{text}` is a `{kind}`",
            path.span,
            f"a `{kind}`",
            others=(Label(declared[0].name.span, "declared here"),),
        )
    fix = replace_text(path.span, guess, safe=False) if guess else None
    return error(
        "TL101",
        "unknown-name",
        f"no `let` or `param` named `{text}` is declared",
        path.span,
        "not declared",
        help=did_you_mean(guess) or "strings stand in quotes",
        fix=fix,
    )
