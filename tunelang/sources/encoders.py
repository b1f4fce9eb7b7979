"""Encoders: models that read a text from both sides, and so cannot write one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tunelang.sources import config_file

# The model_type of families of encoders, as transformers names them.
FAMILIES = (
    "albert",
    "bert",
    "camembert",
    "deberta",
    "deberta-v2",
    "distilbert",
    "electra",
    "ernie",
    "modernbert",
    "mpnet",
    "nomic_bert",
    "roberta",
    "xlm-roberta",
    "xlm-roberta-xl",
)
HELP = "start from a language model: it predicts a word from those before it alone"


def of_folder(folder: Path) -> str:
    """`problem` of a model folder; empty where its config.json cannot be read."""
    try:
        config = config_file.read(folder / "config.json")
    except (OSError, ValueError):
        return ""
    return problem(config)


def problem(config: Mapping[str, Any]) -> str:
    """Why a config.json is no language model's; empty where nothing speaks against it.

    A BERT that is trained as a decoder says so (`is_decoder`).
    """
    kind = config.get("model_type")
    if kind not in FAMILIES or config.get("is_decoder"):
        return ""
    return f"is an encoder (`{kind}`), which reads text from both sides and writes none"
