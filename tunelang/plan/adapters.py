"""Adapters as models of their own: is the folder one, and was it trained beside the base named?"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tunelang.diagnostic import Diagnostic, Label, error
from tunelang.estimate.parameters import Architecture, linears
from tunelang.plan.ir import AdapterModel, ModelRef
from tunelang.recipe.model import Choice, Declared, Recipe
from tunelang.sources import adapters, fingerprint

SUFFIXES = (".json", ".safetensors")


def folder_of(declared: Declared, recipe: Recipe) -> Path:
    place: Choice = declared.get("from")
    return recipe.folder_of(declared.span_of("from")) / str(place.get("folder"))


def source(declared: Declared, recipe: Recipe, found: list[Diagnostic]) -> AdapterModel | None:
    """The folder as the plan names it; None after saying why it is no adapter."""
    folder = folder_of(declared, recipe)
    try:
        adapters.read(folder)
    except adapters.NotAnAdapter as problem:
        said = f"`{folder.name}` is no adapter: {problem}"
        found.append(
            error("TL322", "missing-weights", said, declared.span_of("from"), "not an adapter")
        )
        return None
    files = [path for path in sorted(folder.iterdir()) if path.suffix in SUFFIXES]
    return AdapterModel(path=str(folder.resolve()), fingerprint=fingerprint.of_files(files, folder))


def foreign(
    declared: Declared, recipe: Recipe, base: tuple[ModelRef, Architecture | None]
) -> Iterator[Diagnostic]:
    """TL411: what the folder says of its base, or the widths of its layers, is another model's."""
    ref, architecture = base
    folder = folder_of(declared, recipe)
    place: Choice = declared.get("from")
    below = recipe.declared[place.get("base").name]
    try:
        why = next(_reasons(folder, ref, architecture), None)
    except adapters.NotAnAdapter:
        return  # said where the folder is read
    if why:
        yield error(
            "TL411",
            "adapter-of-other-base",
            f"the adapter `{declared.name}` was not trained beside `{below.name}`: {why}",
            declared.span_of("from"),
            "another model's",
            others=(Label(below.span, "laid over this"),),
            help="name the model it was trained beside as its `base`",
        )


def _reasons(folder: Path, ref: ModelRef, architecture: Architecture | None) -> Iterator[str]:
    told, named = _told(folder), adapters.base(folder)
    if told is not None and told != _without_path(ref):
        yield "the object it lies in names another base"
    if ref.kind == "hub" and named and not Path(named).exists() and named.lower() != ref.id.lower():
        yield f"its files name `{named}`"
    if architecture is None:
        return
    adapter = adapters.read(folder)
    if adapter.layers > architecture.layers:
        yield f"it has {adapter.layers} layers, and {architecture.name} has {architecture.layers}"
    widths = linears(architecture)
    for side, sizes in enumerate((adapter.inside, adapter.outside)):
        for name, size in sizes.items():
            if name in widths and widths[name][side] != size:
                wide = widths[name][side]
                yield f"`{name}` is {size} wide in it, and {wide} in {architecture.name}"


def _told(folder: Path) -> dict[str, Any] | None:
    """The base that an object of the store says it rests on, where the folder lies in one."""
    try:
        product = json.loads((folder.parent / "product.json").read_text("utf-8"))
        base: dict[str, Any] | None = product["base"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return {name: value for name, value in base.items() if name != "path"} if base else None


def _without_path(ref: ModelRef) -> dict[str, Any]:
    return {name: value for name, value in ref.model_dump(mode="json").items() if name != "path"}
