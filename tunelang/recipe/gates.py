"""Gates: each line compares a metric, perhaps measured on other rows, with a bound."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tunelang.diagnostic import error
from tunelang.diagnostic import replace as replace_text
from tunelang.metrics import METRICS
from tunelang.recipe import schema
from tunelang.recipe.layers import Layer
from tunelang.recipe.model import Check, Declared, Given, Ref
from tunelang.recipe.names import did_you_mean, nearest
from tunelang.recipe.typed import Owner, typed
from tunelang.recipe.values import BAD, Reading, read
from tunelang.syntax import tree
from tunelang.units import Quantity

ENFORCE = {"enforce": schema.Field(schema.Flag(), "a gate that is not met stops the run", "true")}
BOUNDS: dict[str, schema.Type] = {
    "ratio": schema.Ratio(),
    "number": schema.Number(),
    "tokens": schema.Either((schema.Count(("tokens",), least=0), schema.Number())),
}
ON = schema.Reference(("data", "benchmark"))
MODELS = schema.Reference(("stage", "model"))


def read_checks(declared: Declared, gate: Layer, reading: Reading) -> Declared:
    """The declaration with its gate's checks."""
    if not (gate.values or gate.checks):
        return declared
    flags = {path.removeprefix("gate."): written for path, written in gate.values.items()}
    owner = Owner(ENFORCE, "a `gate`", "default of gate", declared.span)
    values: dict[str, Given] = typed(Layer(flags), owner, reading)
    checks = [_check(item, declared, replace(reading, scope=scope)) for item, scope in gate.checks]
    sound = tuple(check for check in checks if check)
    return replace(declared, checks=sound, enforce=bool(values["enforce"].value))


def _check(item: tree.Check, declared: Declared, reading: Reading) -> Check | None:
    path = item.operand.path if isinstance(item.operand, tree.Call) else item.operand
    name = path.text
    target = reading.scope.look_up(name)
    if target and target[0].kind.text == "benchmark":
        return _score(item, path, reading)
    if name not in METRICS:
        guess = nearest(name, METRICS)
        reading.say(
            error(
                "TL101",
                "unknown-name",
                f"`{name}` is not a metric",
                path.span,
                "not a metric",
                help=did_you_mean(guess) or f"metrics are {', '.join(METRICS)}",
                fix=replace_text(path.span, guess, safe=False) if guess else None,
            )
        )
        return None
    on, arguments = _operand(item.operand, replace(reading, name=name))
    bound: Any = read(item.value, BOUNDS[METRICS[name].unit], replace(reading, name=name))
    if BAD in (on, bound) or BAD in arguments.values():
        return None
    amount = bound.amount if isinstance(bound, Quantity) else bound
    text = item.operand.span.text
    return Check(text, name, on, arguments, item.compare.text, float(amount), item.span)


def _score(item: tree.Check, path: tree.Path, reading: Reading) -> Check | None:
    """A benchmark's own name stands for its score: `mmlu >= 60%`."""
    on = read(path, ON, replace(reading, name="score"))
    bound: Any = read(item.value, schema.Ratio(), replace(reading, name=path.text))
    if BAD in (on, bound):
        return None
    text = item.operand.span.text
    return Check(text, "score", on, {}, item.compare.text, float(bound), item.span)


def _operand(operand: tree.Path | tree.Call, reading: Reading) -> tuple[Any, dict[str, Any]]:
    """What `perplexity(replay.hold_out)` is taken on, and named arguments such as `versus`."""
    on: Ref | Any = None
    arguments: dict[str, Any] = {}
    for argument in operand.arguments if isinstance(operand, tree.Call) else ():
        if argument.name is None:
            on = read(argument.value, ON, reading)
        elif argument.name.text in ("versus", "judge"):
            arguments[argument.name.text] = read(
                argument.value, MODELS, replace(reading, name=argument.name.text)
            )
        else:
            reading.say(
                error(
                    "TL102",
                    "unknown-field",
                    f"a metric has no argument `{argument.name.text}`",
                    argument.name.span,
                    "unknown",
                    help="it has `versus` and `judge`",
                )
            )
    return on, arguments
