"""Model declarations -> what a worker loads, and the architecture that estimates are taken from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tunelang.catalog import models as catalog
from tunelang.diagnostic import Diagnostic, error
from tunelang.estimate import scratch
from tunelang.estimate.config import from_config
from tunelang.estimate.parameters import Architecture
from tunelang.plan import adapters
from tunelang.plan.data import expand
from tunelang.plan.ir import FolderModel, GgufModel, HubModel, ModelRef, ModelSource, ScratchModel
from tunelang.recipe.model import Choice, Declared, Recipe
from tunelang.source import Span
from tunelang.sources import (
    config_file,
    encoders,
    fingerprint,
    folders,
    gguf,
    gguf_positions,
    hub_configs,
    packages,
)

HEADER = "the header of its file"
FOLDER = "its config.json"
CATALOGUE = "the catalogue"
RECIPE = "the recipe"


@dataclass(frozen=True)
class Base:
    """A base model: loaded as it is (`ref`), or made by a step of its own first (`source`)."""

    ref: ModelRef | None = None
    source: ModelSource | None = None
    architecture: Architecture | None = None
    precision: Literal["fp32", "bf16"] = "bf16"
    encoder: str = ""  # why it is no language model, where its config.json is here
    origin: str = ""  # what its architecture was read off
    catalogued: Architecture | None = None  # what the catalogue has where a cached file came first


def base_of(declared: Declared, recipe: Recipe, found: list[Diagnostic]) -> Base | None:
    """The base behind a model declaration; None after saying what is missing."""
    place: Choice = declared.get("from")
    span = declared.span_of("from")
    if place.name == "hf":
        return _hub(place)
    if place.name == "adapter":
        source = adapters.source(declared, recipe, found)
        return Base(source=source) if source else None
    if place.name == "scratch":
        return _scratch(place, recipe.folder_of(span), span, found)
    if place.name == "package":
        path = packages.find(place.get("package"), place.get("file"), span)
        if isinstance(path, Diagnostic):
            found.append(path)
            return None
        return _file(path, span, found)
    path = recipe.folder_of(span) / place.get("glob")
    if path.suffix == ".gguf":
        return _file(path, span, found)
    if path.suffix in folders.PICKLED and path.is_file():
        risky = folders.pickled(path, place.values["glob"].span)
        found += [risky] if risky else []
        path = path.parent
    return _folder(path, span, found)


def _hub(place: Choice) -> Base:
    """A hub model: what lies in the hub's cache is what will be loaded, and comes before the
    catalogue."""
    ref = HubModel(
        id=place.get("id"), revision=place.get("revision"), trust_code=place.get("trust_code")
    )
    known = _catalogued(ref.id)
    cached = hub_configs.find(ref.id, ref.revision)
    if cached is None:
        return Base(ref, architecture=known, origin=CATALOGUE if known else "")
    read = from_config(cached.config, ref.id)
    encoder = encoders.problem(cached.config)
    if read is None:
        return Base(ref, encoder=encoder)
    origin = f"config.json in the hub's cache, commit {cached.commit[:8]}"
    return Base(ref, architecture=read, encoder=encoder, origin=origin, catalogued=known)


def _catalogued(hub_id: str) -> Architecture | None:
    config = catalog.config(hub_id)
    return from_config(config, hub_id) if config else None


def _file(path: Path, span: Span, found: list[Diagnostic]) -> Base | None:
    if path.suffix != ".gguf":
        found.append(
            error(
                "TL322",
                "missing-weights",
                f"`{path.name}` is no GGUF file",
                span,
                "not a model",
                help="single files are read as GGUF; a model folder is named as a whole",
            )
        )
        return None
    try:
        config = gguf.config(path) | {"rope_parameters": gguf_positions.rope_parameters(path)}
    except (OSError, ValueError) as problem:
        found.append(
            error(
                "TL322",
                "missing-weights",
                f"`{path.name}` cannot be read as GGUF: {problem}",
                span,
                "not a model",
            )
        )
        return None
    source = GgufModel(path=str(path), fingerprint=fingerprint.of_file(path))
    return Base(source=source, architecture=from_config(config, path.stem), origin=HEADER)


def _folder(path: Path, span: Span, found: list[Diagnostic]) -> Base | None:
    problem = folders.problem(path, span)
    if problem:
        found.append(problem)
        return None
    try:
        config = config_file.read(path / "config.json")
    except (OSError, ValueError):
        found.append(
            error("TL322", "missing-weights", "its config.json cannot be read", span, "damaged")
        )
        return None
    mark = fingerprint.of_files(folders.files_of(path), path)
    ref = FolderModel(path=str(path.resolve()), fingerprint=mark)
    known = from_config(config, path.name)
    return Base(ref, architecture=known, encoder=encoders.problem(config), origin=FOLDER)


def _scratch(place: Choice, folder: Path, span: Span, found: list[Diagnostic]) -> Base | None:
    texts = [path for pattern in place.get("tokenizer") for path in expand(pattern, folder)]
    if not texts:
        found.append(
            error(
                "TL320",
                "unreadable-row",
                "no text to train the tokenizer on was found",
                span,
                "no such file",
                help="paths start at the recipe's folder",
            )
        )
        return None
    numbers = ("hidden", "layers", "heads", "kv_heads", "ffn", "experts", "active", "vocabulary")
    shape = {name: place.get(name) for name in (*numbers, "positions", "seed")}
    architecture = str(place.get("architecture"))
    problem = scratch.impossible(architecture, shape)
    if problem:
        found.append(error("TL206", "out-of-range", problem, span, "no such model"))
        return None
    mark = fingerprint.of_files(texts, texts[0].parent)
    source = ScratchModel(
        architecture=architecture,
        tokenizer_text=[str(path) for path in texts],
        fingerprint=mark,
        **shape,
    )
    known = from_config(scratch.config(architecture, shape), f"scratch {architecture}")
    return Base(source=source, architecture=known, precision="fp32", origin=RECIPE)
