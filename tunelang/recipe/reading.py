"""Reading a value: its scope, where findings go, and the one entry that knows every type."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from tunelang.diagnostic import Diagnostic, error
from tunelang.diagnostic import replace as replace_text
from tunelang.recipe import schema
from tunelang.recipe.names import Scope, did_you_mean, nearest
from tunelang.recipe.quantities import describe
from tunelang.source import Source, Span
from tunelang.syntax.parse import parse
from tunelang.syntax.tree import Assignment, Call, ListValue, Path, Scalar, Value

# What other tools call our fields, so that a habit gets the right answer.
FOREIGN = {
    "learning_rate": "lr",
    "batch_size": "batch",
    "num_epochs": "train",
    "num_train_epochs": "train",
    "epochs": "train",
    "max_steps": "train",
    "max_length": "length",
    "max_seq_length": "length",
    "sequence_len": "length",
    "dataset": "data",
    "base_model": "model",
    "adapter": "weights",
    "lr_scheduler": "schedule",
    "warmup_ratio": "schedule",
    "optim": "optimizer",
    "sample_packing": "packing",
    "gradient_clipping": "max_grad_norm",
    "val_set_size": "hold_out",
    "lora_r": "rank",
    "r": "rank",
    "lora_alpha": "alpha",
    "target_modules": "targets",
    "micro_batch_size": "micro",
}


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

    def named(self, name: str, scope: Scope | None = None) -> Reading:
        """The same for another field; made by hand, since it is made for every value."""
        scope = scope or self.scope
        return Reading(scope, self.found, name, self.params, self.trail, self.used)

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


# Filled by `values.py`: how each type is read.
READERS: dict[type, Callable[[Value, Any, Reading], Any]] = {}


def read(value: Value, expected: schema.Type, reading: Reading) -> Any:
    """The value as its type wants it, or BAD after saying why."""
    kind = (
        Path
        if isinstance(value, Path) and not isinstance(expected, schema.Either)
        else type(expected)
    )
    return READERS[kind](value, expected, reading)


def listed(words: tuple[str, ...] | list[str]) -> str:
    quoted = [f"`{word}`" for word in words]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} and {quoted[-1]}"


def not_a(value: Value, expected: schema.Type, reading: Reading) -> Diagnostic:
    got = {Call: "a call", ListValue: "a list", Scalar: "a literal", Path: "a word"}[type(value)]
    return error(
        "TL201",
        "wrong-type",
        f"`{reading.name}` takes {describe(expected)}, not {got}",
        value.span,
        f"expected {describe(expected)}",
    )


def unknown_field(span: Span, key: str, owner: str, known: Mapping[str, Any]) -> Diagnostic:
    """TL102: the field would be ignored."""
    foreign = FOREIGN.get(nearest(key, FOREIGN) or "")
    guess = nearest(key, known) or (foreign if foreign in known else None)
    fix = replace_text(span, guess, safe=False) if guess else None
    return error(
        "TL102",
        "unknown-field",
        f"{owner} has no field `{key}`",
        span,
        "would be ignored",
        help=did_you_mean(guess) or (f"it has {listed(tuple(known))}" if known else ""),
        fix=fix,
    )
