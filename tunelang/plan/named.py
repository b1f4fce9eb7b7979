"""A model as the command line names it: a hub id, a folder, a config.json or a GGUF file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunelang.catalog import models as catalog
from tunelang.diagnostic import Diagnostic, error
from tunelang.estimate.config import families, from_config
from tunelang.estimate.parameters import Architecture
from tunelang.recipe.names import nearest
from tunelang.sources import config_file, gguf, hub_configs

KNOWN = "its config.json says what it is; name that file, or its folder"


@dataclass(frozen=True)
class Named:
    """`origin` says where its numbers come from, `config` are those of its config.json."""

    architecture: Architecture
    origin: str
    config: dict[str, Any]


def named(text: str) -> Named | Diagnostic:
    """The architecture of a model; TL322 or TL101 where there is none, or none that is known."""
    path = Path(text)
    if path.suffix == ".gguf":
        return _gguf(path)
    if path.is_dir() or path.suffix == ".json":
        file = path / "config.json" if path.is_dir() else path
        whole = file.resolve()  # `config.json` of the current folder is called as that folder is
        called = whole.parent.name if file.name == "config.json" else file.stem
        return _file(file, called, file.as_posix())
    if path.is_file():
        return _missing(f"`{text}` is no config.json and no GGUF file")
    return _hub(text)


def _hub(name: str) -> Named | Diagnostic:
    """The hub's cache is newer than the catalogue, and is what would be loaded."""
    cached = hub_configs.find(name)
    if cached is not None:
        return _known(cached.config, name, f"the hub's cache, commit {cached.commit[:8]}")
    config = catalog.config(name)
    known = from_config(config, name) if config else None
    if config is None or known is None:
        guess = nearest(name, catalog.names())
        help = (
            f"did you mean `{guess}`?" if guess else f"`tunelang models` lists them; else {KNOWN}"
        )
        return error(
            "TL101", "unknown-name", f"no model `{name}` in the catalogue", None, help=help
        )
    return Named(known, "the catalogue", config)


def _file(path: Path, name: str, origin: str) -> Named | Diagnostic:
    try:
        config = config_file.read(path)
    except (OSError, ValueError) as problem:
        why = getattr(problem, "strerror", None) or problem
        return _missing(f"`{path}` cannot be read: {why}")
    return _known(config, name, origin)


def _gguf(path: Path) -> Named | Diagnostic:
    try:
        config = gguf.config(path)
    except (OSError, ValueError) as problem:
        why = getattr(problem, "strerror", None) or problem
        return _missing(f"`{path}` cannot be read as GGUF: {why}")
    return _known(config, path.stem, path.as_posix())


def _known(config: dict[str, Any], name: str, origin: str) -> Named | Diagnostic:
    known, kind = from_config(config, name), config.get("model_type")
    if known is None and kind in families():
        why = f"its config.json lacks what a `{kind}` needs, or holds what none can have"
        return _missing(f"`{name}` cannot be counted: {why}")
    if known is None:
        return _missing(f"`{name}` is of a family that is not counted: model_type is `{kind}`")
    return Named(known, origin, config)


def _missing(message: str) -> Diagnostic:
    return error("TL322", "missing-weights", message, None, help=KNOWN)
