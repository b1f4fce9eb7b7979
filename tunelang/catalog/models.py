"""The catalogue of models: `families/*.toml` by hub id.

A file holds what a family shares (`source`, `config`, `template`, `licence`), its `sizes`, and one
table for each config.json: the ids in `base` were not tuned to talk, those in `chat` write turns
by `template`. A table of `tower` is of models that see pictures.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).with_name("families")
SIZES = (
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "intermediate_size",
)


@dataclass(frozen=True)
class Model:
    """A repository of the hub: the parts of its config.json that counts and estimates need.

    `context` is in tokens; `template` names how tuned models write turns, empty for others.
    `stated` is what its page on the hub says of its size, to three digits, or to the parameter
    where it is `exact` (both written down from memory of the pages, before they were counted).
    `alike` are the other repositories with the same config.json; `note` is what a count does not
    tell.
    """

    id: str
    config: dict[str, Any]
    context: int
    licence: str
    template: str
    source: str
    stated: float | None
    exact: bool
    alike: tuple[str, ...]
    note: str

    @property
    def family(self) -> str:
        return str(self.config["model_type"])


def find(hub_id: str) -> Model | None:
    """By its id on the hub, as the hub writes it; only a file that names it is read."""
    for path in sorted(FOLDER.glob("*.toml")):
        if f'"{hub_id}"' in _text(path) and hub_id in _models(path):
            return _models(path)[hub_id]
    return None


def config(hub_id: str) -> dict[str, Any] | None:
    """The parts of config.json that counts and estimates need; None for models not known."""
    found = find(hub_id)
    return found.config if found else None


def every() -> tuple[Model, ...]:
    """All models in the order of their files."""
    paths = sorted(FOLDER.glob("*.toml"))
    return tuple(model for path in paths for model in _models(path).values())


def names() -> tuple[str, ...]:
    return tuple(model.id for model in every())


@cache
def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


@cache
def _models(path: Path) -> dict[str, Model]:
    shared = tomllib.loads(_text(path))
    return {each.id: each for entry in shared["model"] for each in _of(entry, shared)}


def _of(entry: dict[str, Any], shared: dict[str, Any]) -> Iterator[Model]:
    """Every repository of one table."""
    base, chat = entry.get("base", []), entry.get("chat", [])
    stated = entry.get("exact", entry.get("stated"))
    for hub_id in (*base, *chat):
        yield Model(
            id=hub_id,
            config=_config(entry, shared),
            context=entry["context"],
            licence=entry.get("licence") or shared["licence"],
            template="" if hub_id in base else entry.get("template") or shared["template"],
            source=shared["source"],
            stated=stated,
            exact="exact" in entry,
            alike=tuple(each for each in (*base, *chat) if each != hub_id),
            note=entry.get("note", ""),
        )


def _config(entry: dict[str, Any], shared: dict[str, Any]) -> dict[str, Any]:
    """As the repository's config.json has it; `null` names what it sets to null."""
    sizes = dict(zip(SIZES, shared["sizes"][entry["size"]], strict=True))
    told = {**shared["config"], **sizes, "max_position_embeddings": entry["context"]}
    whole = {**told, **dict.fromkeys(entry.get("null", ())), **entry.get("config", {})}
    return {**shared["tower"], "text_config": whole} if entry.get("vision") else whole
