"""Data declarations -> the parts and the mixture of a step, with what the rows themselves say."""

from __future__ import annotations

import glob
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunelang.diagnostic import Diagnostic, Label, error
from tunelang.plan.ir import (
    DataFormat,
    DataPart,
    FilesSource,
    HoldOut,
    HubSource,
    InlineSource,
    Mixture,
    Step,
    StoreSource,
)
from tunelang.plan.refused import at, of_part
from tunelang.plan.schedule import Extent
from tunelang.plan.wordings import wording_of
from tunelang.recipe.model import Choice, Declared, Recipe
from tunelang.sources import RowError, fingerprint, probe, rows, shapes
from tunelang.sources.places.formats import FORMATS
from tunelang.units import Quantity


@dataclass(frozen=True)
class Counted:
    """Rows and characters of a data set, and how many rows are left to train on."""

    rows: int | None
    train: int | None
    characters: int | None
    stream: bool = False


@dataclass(frozen=True)
class Earlier:
    """The stages before this one: their steps, and how much data each reads."""

    steps: Mapping[str, Step]
    extents: Mapping[str, Extent]


NOTHING = Earlier({}, {})


def data_part(declared: Declared, recipe: Recipe, found: list[Diagnostic]) -> DataPart | None:
    """A data declaration as the worker reads it; None after saying what is wrong."""
    place: Choice = declared.get("from")
    source = _source(declared, place, recipe, found)
    if source is None:
        return None
    form = _format(declared, source, found)
    if form is None:
        return None
    hold_out, limit = declared.get("hold_out"), declared.get("limit")
    return DataPart(
        name=declared.name,
        source=source,
        format=form,
        fingerprint=_fingerprint(source),
        limit=int(limit.amount) if limit else None,
        hold_out=_hold_out(hold_out),
        wording=wording_of(declared),
    )


def made_part(stage: Declared, step: Step) -> DataPart:
    """The rows that an earlier stage makes, as the worker reads them; its key is their content."""
    made, limit = stage.rows, stage.get("limit")
    assert made is not None  # a stage that makes anything else is no data
    return DataPart(
        name=stage.name,
        source=StoreSource(key=step.key),
        format=DataFormat(kind=made.format, columns=dict(made.columns)),  # type: ignore[arg-type]
        fingerprint=step.key,
        limit=int(limit.amount) if limit else None,
        hold_out=_hold_out(stage.get("hold_out")),
    )


def _hold_out(value: Any) -> HoldOut | None:
    if value is None:
        return None
    return HoldOut(rows=int(value.amount)) if isinstance(value, Quantity) else HoldOut(ratio=value)


def _source(
    declared: Declared, place: Choice, recipe: Recipe, found: list[Diagnostic]
) -> FilesSource | HubSource | InlineSource | None:
    if place.name == "inline":
        return InlineSource(rows=list(place.get("rows")))
    if place.name == "hf":
        return HubSource(
            id=place.get("id"),
            revision=place.get("revision"),
            split=str(place.get("split")),
            subset=place.get("subset"),
        )
    pattern = place.get("glob")
    paths = expand(pattern, recipe.folder_of(declared.span_of("from")))
    if paths:
        return FilesSource(paths=[str(path) for path in paths])
    found.append(
        error(
            "TL320",
            "unreadable-row",
            f"`{pattern}` matches no file",
            declared.span_of("from"),
            "no such file",
            help="paths start at the recipe's folder",
        )
    )
    return None


def expand(pattern: str, folder: Path) -> list[Path]:
    """Files that a pattern names, sorted; `**` reaches into folders."""
    found = glob.iglob(pattern, root_dir=folder, recursive=True)  # takes absolute paths too
    return sorted((folder / name).resolve() for name in found if (folder / name).is_file())


def _fingerprint(source: FilesSource | HubSource | InlineSource) -> str:
    if isinstance(source, FilesSource):
        return fingerprint.of_files(source.paths, Path(source.paths[0]).parent)
    return fingerprint.of_text(source.model_dump_json())


def _format(
    declared: Declared, source: FilesSource | HubSource | InlineSource, found: list[Diagnostic]
) -> DataFormat | None:
    form: Choice | None = declared.get("format")
    if form is not None:
        columns = {role: given.value for role, given in form.values.items()}
        return DataFormat(kind=form.name, columns=columns)  # type: ignore[arg-type]
    span = declared.span
    if isinstance(source, HubSource):
        found.append(
            error(
                "TL501",
                "missing-input",
                f"`{declared.name}` needs a `format`",
                span,
                "its rows are not here to look at",
                help=f"formats are {', '.join(FORMATS)}",
            )
        )
        return None
    try:
        first = next(iter(rows.raw_rows(source)), None)
    except RowError as problem:
        found.append(at(problem, declared))
        return None
    shape = shapes.recognise(first[0]) if first else None
    if shape is None:
        seen = f"its columns are {', '.join(first[0])}" if first else "it has no rows"
        found.append(
            error(
                "TL501",
                "missing-input",
                f"the rows of `{declared.name}` have no shape that TuneLang knows",
                span,
                "needs a `format`",
                help=f'{seen}; write, for one, `format = chat(messages = "...")`',
            )
        )
    return shape


def mixture_of(
    stage: Declared, recipe: Recipe, found: list[Diagnostic], earlier: Earlier = NOTHING
) -> tuple[Mixture | None, Extent | None]:
    """The data of a stage and how much of it there is to train on."""
    assert stage.method is not None
    ref = stage.get(stage.method.data_field)
    declared = recipe.declared.get(ref.name) if ref else None
    if declared is None:
        return None, None
    aside = {ref.name for ref in stage.get("hold_out_tasks") or ()}
    shares = [(recipe.declared[r.name], share.value) for r, share in declared.parts]
    shares = [(each, share) for each, share in shares if each.name not in aside]
    if declared.parts and not shares:  # a rule says so
        return None, None
    shares = shares or [(declared, 1.0)]
    parts = [(_part(each, recipe, found, earlier), share, each) for each, share in shares]
    counted = [count(part, each, found, earlier.extents) for part, _, each in parts if part]
    sound = [(part, share, each) for part, share, each in parts if part]
    if len(sound) < len(parts) or None in counted:
        return None, None
    _right_format(stage, sound, found)
    weighted = [part.model_copy(update={"weight": share}) for part, share, _ in sound]
    return _mixture(declared, weighted), _extent(declared, [each for each in counted if each])


def _part(
    declared: Declared, recipe: Recipe, found: list[Diagnostic], earlier: Earlier
) -> DataPart | None:
    """A data set, or the rows of a stage; None where that stage has no step."""
    if declared.kind != "stage":
        return data_part(declared, recipe, found)
    step = earlier.steps.get(declared.name)
    return made_part(declared, step) if step and declared.rows else None


def _mixture(declared: Declared, parts: list[DataPart]) -> Mixture:
    if len(parts) == 1:  # shares of one source are no shares: strategies change nothing
        repeat = declared.get("repeat_at_most")
        whole = [parts[0].model_copy(update={"weight": 1.0})]
        return Mixture(parts=whole, repeat_at_most=repeat.amount if repeat else None)
    strategy: Choice = declared.get("strategy")
    cap, repeat = strategy.get("cap"), declared.get("repeat_at_most")
    return Mixture(
        parts=parts,
        strategy=strategy.name,  # type: ignore[arg-type]
        temperature=strategy.get("temperature") or 1.0,
        cap=int(cap.amount) if cap else None,
        by=declared.get("by") or "rows",
        repeat_at_most=repeat.amount if repeat else None,
    )


def _extent(declared: Declared, counted: Sequence[Counted]) -> Extent:
    train = [each.train for each in counted]
    characters = [each.characters for each in counted]
    return Extent(
        declared.name,
        None if None in train else sum(each for each in train if each),
        None if None in characters else sum(each for each in characters if each),
        any(each.stream for each in counted),
    )


def count(
    part: DataPart,
    declared: Declared,
    found: list[Diagnostic],
    extents: Mapping[str, Extent] | None = None,
) -> Counted | None:
    """Rows of a local set by reading it, of a remote one by what the recipe says, of a stage by
    what it reads (`extents` by stage)."""
    if declared.get("stream"):
        return Counted(None, None, None, stream=True)
    told: Quantity | None = declared.get("rows")
    if isinstance(part.source, HubSource):
        return _counted(int(told.amount) if told else None, part)
    if isinstance(part.source, StoreSource):
        return _counted(_made(declared, (extents or {}).get(declared.name)), part)
    try:
        seen = probe.facts(part)
    except RowError as problem:
        found.append(of_part(problem, declared, part))
        return None
    return Counted(seen.rows, seen.train, seen.characters)


def _counted(total: int | None, part: DataPart) -> Counted:
    """The rows of a part that is not here, of which there are `total` in all."""
    total = min(total, part.limit) if total and part.limit else total
    held = rows.held_out_count(total, part.hold_out) if total and part.hold_out else 0
    return Counted(total, total - held if total else None, None)


def _made(stage: Declared, extent: Extent | None) -> int | None:
    """How many rows a stage makes at most, None where only its run can tell."""
    made = stage.rows
    if made is None or made.each is None or extent is None or extent.rows is None:
        return None
    return made.each * extent.rows


def _right_format(
    stage: Declared, parts: Sequence[tuple[DataPart, float, Declared]], found: list[Diagnostic]
) -> None:
    """TL302 for shapes that were recognised; written formats were checked by a rule."""
    assert stage.method is not None
    for part, _, declared in parts:
        if part.format.recognised and part.format.kind not in stage.method.formats:
            takes = " or ".join(f"`{each}`" for each in stage.method.formats)
            found.append(
                error(
                    "TL302",
                    "wrong-format",
                    f"`{stage.name}` takes {takes} rows, and `{declared.name}` holds "
                    f"`{part.format.kind}` rows",
                    stage.span_of(stage.method.data_field),
                    f"recognised as {part.format.recognised}",
                    others=(Label(declared.span, "declared here"),),
                )
            )
