"""Writes fixes.jsonl, spares.jsonl and resets.jsonl from hollin.toml: tasks of multi_task.tune.

Run in this folder. A fix answers a trouble, a spare names what to order, a reset says what to hold
or turn. No chance is involved.
"""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

HERE = Path(__file__).parent


def tasks() -> dict[str, str]:
    """The lines of each file by its name."""
    parts = tomllib.loads((HERE / "hollin.toml").read_text("utf-8"))
    fixes = [
        (f"The {name} {seen}.", f"Because {why}: {fix}.")
        for name, part in parts.items()
        for seen, why, fix in part["issues"]
    ]
    spares = [(f"Which spare fits the {name}?", part["spare"]) for name, part in parts.items()]
    resets = [(f"Reset the {name}.", f"{part['reset']}.") for name, part in parts.items()]
    return {"fixes": lines(fixes), "spares": lines(spares), "resets": lines(resets)}


def lines(rows: list[tuple[str, str]]) -> str:
    made = [json.dumps({"prompt": prompt, "reply": reply}) for prompt, reply in rows]
    return "\n".join(made) + "\n"


if __name__ == "__main__":
    for name, text in tasks().items():
        (HERE / f"{name}.jsonl").write_text(text, "utf-8")
