"""Writes answers.jsonl: 120 questions of conversations.jsonl with their replies, in three columns.

Run in this folder. A reply in the manner of the desk (it ends with a next step) weighs 2, others 1.
"""

from __future__ import annotations

import json
from pathlib import Path

HERE = Path(__file__).parent
MARK = "Next step: "
COUNT = 120


def answers() -> str:
    """The lines of the file."""
    lines = (HERE / "conversations.jsonl").read_text("utf-8").splitlines()[:COUNT]
    made = []
    for turns in (json.loads(line)["messages"] for line in lines):
        asked, said = turns[0]["content"], turns[1]["content"]
        line = {"prompt": asked, "reply": f" {said}", "weight": 2 if MARK in said else 1}
        made.append(json.dumps(line, ensure_ascii=False))
    return "\n".join(made) + "\n"


if __name__ == "__main__":
    (HERE / "answers.jsonl").write_text(answers(), "utf-8")
