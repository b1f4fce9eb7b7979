"""Local model folders in Hugging Face layout: is everything there, and is it safe to load."""

from __future__ import annotations

import json
from pathlib import Path

from tunelang.diagnostic import Diagnostic, error
from tunelang.source import Span

PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")


def problem(folder: Path, span: Span | None) -> Diagnostic | None:
    """What keeps the folder from being a model, None where nothing does."""
    shown = span.text if span else str(folder)
    if not folder.is_dir():
        return error(
            "TL322", "missing-weights", f"there is no model folder {shown}", span, "not found"
        )
    if not (folder / "config.json").is_file():
        return error(
            "TL322",
            "missing-weights",
            f"{shown} has no config.json, so it is no model folder",
            span,
            "not a model",
        )
    if not list(folder.glob("*.safetensors")):
        pickled = [path.name for pattern in PICKLES for path in folder.glob(pattern)]
        if pickled:
            return error(
                "TL903",
                "pickled-weights",
                f"{shown} holds pickled weights ({pickled[0]}), and loading them runs code",
                span,
                "pickled",
                help="convert them to safetensors with the model's own tools",
            )
        return error(
            "TL322", "missing-weights", f"{shown} holds no weights", span, "no *.safetensors"
        )
    return _shards(folder, span)


def _shards(folder: Path, span: Span | None) -> Diagnostic | None:
    index = folder / "model.safetensors.index.json"
    if not index.is_file():
        return None
    try:
        wanted = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    except (OSError, ValueError, KeyError, AttributeError):
        return error("TL322", "missing-weights", f"`{index.name}` cannot be read", span, "damaged")
    missing = sorted(name for name in wanted if not (folder / name).is_file())
    if not missing:
        return None
    return error(
        "TL322",
        "missing-weights",
        f"{len(missing)} of {len(wanted)} weight files are missing: {missing[0]} and on",
        span,
        "incomplete",
    )


def files_of(folder: Path) -> list[Path]:
    """The files that make the model: configuration, tokenizer and weights."""
    endings = (".json", ".safetensors", ".jinja", ".model", ".txt")
    return sorted(path for path in folder.iterdir() if path.is_file() and path.suffix in endings)
