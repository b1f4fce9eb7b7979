"""What a field may hold: the expected types, fields, variants and methods. Knows no text.

A default is written as recipe text (`"2048 tokens"`), so it is read, shown and explained by the
same code as what a person writes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True)
class Whole:
    """A whole number, as an int: `16`, `2k`."""

    least: int = 1
    most: int | None = None


@dataclass(frozen=True)
class Number:
    """Any number, as a float: `1e-4`."""

    least: float | None = None
    most: float | None = None
    above: float | None = None  # strictly greater than this


@dataclass(frozen=True)
class Ratio:
    """A share between 0 and 1, as a float: `60%` or `0.6`. Up to `most` in percent."""

    most: float = 1.0


@dataclass(frozen=True)
class Count:
    """A number of some counted thing, as a Quantity: `2048 tokens`. The first noun is canonical."""

    nouns: tuple[str, ...]
    least: int = 1


@dataclass(frozen=True)
class HowLong:
    """A stretch of training, as a Quantity in one of `units` (`ratio` is of the whole run)."""

    units: tuple[str, ...] = ("epochs", "steps", "tokens", "seconds")
    none: bool = False  # may it be nothing, as a warmup may


@dataclass(frozen=True)
class Measure:
    """A plain quantity of one unit: `bytes`, `seconds`, `dollars`, `dollars/h`."""

    unit: Literal["bytes", "seconds", "dollars", "dollars/h"]


@dataclass(frozen=True)
class Text:
    """A string."""


@dataclass(frozen=True)
class Flag:
    """`true` or `false`."""


@dataclass(frozen=True)
class Symbol:
    """One word of a list, as a str."""

    words: tuple[str, ...]


@dataclass(frozen=True)
class Variant:
    """One of several shapes, each with its own fields: `qlora(rank = 16)`, as a Choice.

    The first field of a shape may be given without its name.
    """

    shapes: Mapping[str, Mapping[str, Field]]


@dataclass(frozen=True)
class ListOf:
    """`[a, b]`, as a tuple."""

    item: Type


@dataclass(frozen=True)
class Rows:
    """The rows of `inline([...])`: strings, or `row(column = value, ...)`, as a tuple of dicts."""


@dataclass(frozen=True)
class Reference:
    """The name of a declaration of one of `kinds`; a stage must make one of `products`."""

    kinds: tuple[str, ...]
    products: tuple[str, ...] = ()


@dataclass(frozen=True)
class MetricOf:
    """A metric of a stage's gate, as a str: `chat.gate.accuracy`."""


@dataclass(frozen=True)
class Group:
    """A block of fields: `kl { target = 6.0 }`. Its fields are flattened to `kl.target`."""

    fields: Mapping[str, Field]


@dataclass(frozen=True)
class Either:
    """The first of `types` that fits the way the value is written."""

    types: tuple[Type, ...]


Type = (
    Whole
    | Number
    | Ratio
    | Count
    | HowLong
    | Measure
    | Text
    | Flag
    | Symbol
    | Variant
    | ListOf
    | Rows
    | Reference
    | MetricOf
    | Group
    | Either
)


ALL = ("*",)


@dataclass(frozen=True)
class Field:
    """A field of a declaration or variant. Without a default it is required unless optional.

    `later` names the words or variants (ALL: any value but the default) that are checked and
    planned and that no worker of this version can carry out; `run` refuses them by name.
    """

    type: Type
    doc: str
    default: str | None = None
    optional: bool = False
    key: bool = True  # part of the stage's content key
    later: tuple[str, ...] = ()


Product = Literal["lm", "reward", "classifier", "prompted", "data", "metrics", "export"]


@dataclass(frozen=True)
class MadeRows:
    """The rows that a stage makes: their format and the column of each role.

    `each` is how many rows one row of its own data gives at most, None where only a run can tell.
    """

    format: str
    columns: Mapping[str, str]
    each: int | None = 1


@dataclass(frozen=True)
class Method:
    """A method: what it is, what it reads and makes. `worker` is the module that runs it.

    `inputs` names the fields that hold models and `data_field` the one that holds rows (empty:
    it reads none); `formats` are the data formats it takes. `noun` is what its batch counts,
    `metrics` what it measures on held-out rows, `copies` which models it keeps in memory beside the
    one that trains, `sequences` how many sequences one row is. A method that does not train has no
    `weights`, `lr` and schedule. `products` are by the word of the field `decides`, where what is
    made depends on one; `modes`, by the same word, what the method is then where more than that
    differs. `rows` tells, by the values of a stage, what rows its product "data" holds.
    """

    name: str
    version: int
    doc: str
    worker: str
    product: Product
    fields: Mapping[str, Field]
    inputs: tuple[str, ...]
    data_field: str
    formats: tuple[str, ...]
    noun: str
    metrics: tuple[str, ...]
    copies: tuple[str, ...] = ()
    sequences: int = 1
    trains: bool = True
    decides: str = ""
    products: Mapping[str, Product] = field(default_factory=dict)
    modes: Mapping[str, Method] = field(default_factory=dict)
    mode: str = ""  # the word that this is one of the modes for
    rows: Callable[[Callable[[str], Any]], MadeRows] | None = None


@dataclass(frozen=True)
class WeightsKind:
    """One way to say what trains: the variant's name, its fields and a line for people.

    `adapter`: the model's own weights stay as they are and a small file is saved beside them.
    `like` is the kind whose memory its own resembles most.
    """

    name: str
    doc: str
    fields: Mapping[str, Field] = field(default_factory=dict)
    adapter: bool = False
    like: Literal["full", "lora", "qlora", "experts"] = "full"


@dataclass(frozen=True)
class SourceKind:
    """One place models or data come from: the variant's name and fields."""

    name: str
    doc: str
    gives: tuple[str, ...]  # "model", "data"
    fields: Mapping[str, Field] = field(default_factory=dict)
