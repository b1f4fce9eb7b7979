"""One data set of a stage as plain JSON: its source, format and what is held out."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class Frozen(BaseModel):
    """Strict, frozen, nothing extra."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")


class FilesSource(Frozen):
    """Local files in sorted order, each jsonl, json, csv, parquet, arrow, txt or md."""

    kind: Literal["files"] = "files"
    paths: list[str]


class HubSource(Frozen):
    kind: Literal["hf"] = "hf"
    id: str
    revision: str
    split: str = "train"
    subset: str | None = None


class InlineSource(Frozen):
    kind: Literal["inline"] = "inline"
    rows: list[dict[str, Any]]


class StoreSource(Frozen):
    """The rows that an earlier step made: `objects/KEY/rows.jsonl` of the store."""

    kind: Literal["store"] = "store"
    key: str


RowSource = Annotated[
    FilesSource | HubSource | InlineSource | StoreSource, Field(discriminator="kind")
]


LOCAL = (FilesSource, InlineSource)  # what can be read before anything has run


class DataFormat(Frozen):
    """A format of the vocabulary and the column of each of its roles.

    `recognised` names the well-known shape it was taken from, empty when mapped by hand.
    """

    kind: Literal[
        "text",
        "instruct",
        "chat",
        "preference",
        "ranking",
        "feedback",
        "prompt",
        "labelled",
        "choices",
    ]
    columns: dict[str, str]
    recognised: str = ""


class HoldOut(Frozen):
    """How many rows are set aside for measuring: a ratio of all, or a number of rows."""

    ratio: float | None = None
    rows: int | None = None


class Wording(Frozen):
    """The words that the rows of a data set are put into: one template for each row, chosen by a
    hash of `seed` and row. `held_out` are measured only; `labels` are the words for 0, 1, ..."""

    templates: list[str]
    held_out: list[str] = []
    labels: list[str] = []
    seed: int = 0


class DataPart(Frozen):
    """One data set of a stage. `weight` is its share of the mix; `fingerprint` its content."""

    name: str
    source: RowSource
    format: DataFormat
    fingerprint: str
    limit: int | None = None
    hold_out: HoldOut | None = None
    weight: float = 1.0
    wording: Wording | None = None
