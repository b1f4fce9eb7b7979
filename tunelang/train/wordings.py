"""Rows put into words: one of several templates for each, chosen by nothing but seed and row.

FLAN (Wei et al. 2021, arXiv 2109.01652) writes every row of a task in one of about ten wordings, so
that a model learns the task and not its wording. `{options}` lists the labels as FLAN does. The
wordings are a data set's own: each task of a mix has others.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tunelang.plan.ir import DataPart
from tunelang.train.job import fail

if TYPE_CHECKING:  # rows are read in words: data imports this module
    from tunelang.train.data import Example

# What a template may name, by the format of the row.
NAMES = {"instruct": ("prompt", "input"), "labelled": ("text", "options")}
PLACE = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True)
class Wordings:
    """Templates such as `Question: {prompt}`; `labels` are the words for labels 0, 1, ..."""

    templates: tuple[str, ...]
    seed: int
    labels: tuple[str, ...] = ()

    def __call__(self, example: Example) -> Example:
        """An instruct or labelled row in words; a row of another format as it is."""
        names = NAMES.get(example.kind)
        if names is None or not self.templates:
            return example
        template = self.templates[self.choice(example)]
        values = dict(example.values)
        parts = self.parts(example)
        unsaid = [name for name in names if parts.get(name) and f"{{{name}}}" not in template]
        if set(unsaid) - {"options"}:
            lacks(example, template, unsaid[0])
        said = PLACE.sub(lambda found: parts.get(found[1], ""), template)
        kept = {role: values[role] for role in ("system", "weight") if values.get(role)}
        reply = values["reply"] if example.kind == "instruct" else self.word(example)
        return replace(example, kind="instruct", values={**kept, "prompt": said, "reply": reply})

    def choice(self, example: Example) -> int:
        """The number of the row's template: a hash of the seed and of what the row holds."""
        text = json.dumps(example.values, sort_keys=True, ensure_ascii=False, default=str)
        digest = hashlib.sha256(f"{self.seed}\0{text}".encode("utf-8", "surrogatepass")).digest()
        return int.from_bytes(digest[:8], "big") % len(self.templates)

    def parts(self, example: Example) -> Mapping[str, str]:
        """What may stand in the places of a template."""
        if example.kind == "labelled":
            listed = "".join(f"\n- {label}" for label in self.labels)
            return {"text": str(example.values["text"]), "options": f"OPTIONS:{listed}"}
        asked = example.values["prompt"]
        if not isinstance(asked, str):
            fail(
                "TL320",
                "unreadable-row",
                f"{example.place}: the prompt is a conversation, which no template can word",
                "leave `templates` out",
            )
        return {"prompt": asked, "input": str(example.values.get("input") or "")}

    def word(self, example: Example) -> str:
        """The label of a row as the reply says it."""
        label = example.values["label"]
        if isinstance(label, str) and not (self.labels and label.isdigit()):
            return label
        if not self.labels:
            return str(label)
        number = int(label)
        if not 0 <= number < len(self.labels):
            fail(
                "TL320",
                "unreadable-row",
                f"{example.place}: the label {number} has no word: `labels` names "
                f"{len(self.labels)}",
                "labels are counted from 0",
            )
        return self.labels[number]


def lacks(example: Example, template: str, name: str) -> None:
    """TL420: a template that leaves out what the row holds."""
    fail(
        "TL420",
        "lossy-template",
        f"{example.place}: the row has {name}, and the template {template!r} does not say it",
        f"write {{{name}}} into the template",
    )


def of_part(part: DataPart) -> Wordings:
    """The wordings that a data set is trained in; none where it has none. TL302 for rows that
    take none: nothing is left out in silence."""
    given = part.wording
    if given is None:
        return Wordings((), 0)
    if part.format.kind not in NAMES:
        fail(
            "TL302",
            "wrong-format",
            f"`{part.name}` holds `{part.format.kind}` rows, which `templates` cannot word",
            "leave `templates` out, or use `instruct` or `labelled` rows",
        )
    return Wordings(tuple(given.templates), given.seed, tuple(given.labels))


def unseen(parts: Iterable[DataPart]) -> list[DataPart]:
    """The data sets that have wordings for measuring alone, in these."""
    return [
        part.model_copy(
            update={"wording": part.wording.model_copy(update={"templates": part.wording.held_out})}
        )
        for part in parts
        if part.wording and part.wording.held_out
    ]


def need_question(example: Example) -> None:
    """TL302: a label alone asks nothing."""
    if example.kind == "labelled":
        fail(
            "TL302",
            "wrong-format",
            f"{example.place}: a text and a label, and nothing says how to ask for it",
            'write `templates = ["{text}\\nWhat is it?"]` and, for numbers, `labels`',
        )
