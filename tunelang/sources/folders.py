"""Local model folders in Hugging Face layout: is everything there, and is it safe to load."""

from __future__ import annotations

import json
from pathlib import Path

from tunelang.diagnostic import Diagnostic, error, replace, warning
from tunelang.source import Span

INDEX = "model.safetensors.index.json"
PICKLED = (".bin", ".pt", ".pth", ".ckpt")


def problem(folder: Path, span: Span | None) -> Diagnostic | None:
    """What keeps the folder from being a model, None where nothing does."""
    shown = f"`{folder.name}`"
    if not folder.is_dir():
        help = "paths start at the recipe's folder"
        return _missing(f"there is no model folder {shown}", span, "not found", help)
    if (folder / "adapter_config.json").is_file():
        help = "merge it into its model with PEFT's `merge_and_unload`, and name that folder"
        return _missing(f"{shown} is an adapter, not a whole model", span, "an adapter", help)
    if not (folder / "config.json").is_file():
        said = f"{shown} has no config.json, so it is no model folder"
        return _missing(said, span, "not a model")
    weights = sorted(path.name for path in folder.glob("*.safetensors"))
    if not weights:
        return _without_safetensors(folder, shown, span)
    if (folder / INDEX).is_file():
        return _shards(folder, span)
    if any("-of-" in name for name in weights):
        return _missing(f"{shown} has parts of a model, and no {INDEX}", span, "incomplete")
    return None


def _missing(said: str, span: Span | None, label: str, help: str = "") -> Diagnostic:
    return error("TL322", "missing-weights", said, span, label, help=help)


def pickled(path: Path, span: Span | None) -> Diagnostic | None:
    """A pickled file is named, and its folder holds the same weights as safetensors."""
    if path.suffix not in PICKLED or not any(path.parent.glob("*.safetensors")):
        return None
    said = f"`{path.name}` is pickled, and loading it runs code; the safetensors beside it do not"
    folder = span.text.rpartition("/")[0] + '"' if span and "/" in span.text else '"."'
    help = "name the folder: its safetensors are what is loaded"
    fix = replace(span, folder, safe=False) if span else None
    return warning("TL903", "pickled-weights", said, span, "runs code", help=help, fix=fix)


def _without_safetensors(folder: Path, shown: str, span: Span | None) -> Diagnostic:
    pickled = sorted(path.name for ending in PICKLED for path in folder.glob(f"*{ending}"))
    if not pickled:
        return _missing(f"{shown} holds no weights", span, "no *.safetensors")
    said = f"{shown} holds pickled weights ({pickled[0]}), and loading them runs code"
    help = "convert them to safetensors with the model's own tools"
    return error("TL903", "pickled-weights", said, span, "pickled", help=help)


def _shards(folder: Path, span: Span | None) -> Diagnostic | None:
    """Every file that the index names is there."""
    try:
        read = json.loads((folder / INDEX).read_text(encoding="utf-8"))
        wanted = set(read["weight_map"].values())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return _missing(f"`{INDEX}` cannot be read", span, "damaged")
    missing = sorted(name for name in wanted if not (folder / name).is_file())
    if not missing:
        return None
    verb = "is" if len(missing) == 1 else "are"
    said = f"{len(missing)} of {len(wanted)} weight files {verb} missing: {', '.join(missing[:3])}"
    return _missing(said, span, "incomplete")


def files_of(folder: Path) -> list[Path]:
    """The files that make the model: configuration, tokenizer and weights."""
    endings = (".json", ".safetensors", ".jinja", ".model", ".txt")
    return sorted(path for path in folder.iterdir() if path.is_file() and path.suffix in endings)
