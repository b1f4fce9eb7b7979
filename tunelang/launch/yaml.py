"""Values as YAML that people read: blocks for nested values and for texts of several lines.

Only writing is needed and what is written is ours, which a dependency would not make simpler.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

# Read as a string by every version of YAML: begins with a letter, and none of its other words.
PLAIN = re.compile(r"(?!(?:y|n|yes|no|on|off|true|false|null)\Z)[A-Za-z][\w./-]*", re.IGNORECASE)


def dump(value: Mapping[str, Any]) -> str:
    """A mapping as one document, keys in the order given."""
    return "".join(f"{line}\n" for line in _mapping(value))


def _mapping(value: Mapping[str, Any]) -> Iterator[str]:
    for key, inner in value.items():
        yield from _entry(f"{_scalar(key)}:", inner, "  ")


def _entry(head: str, value: Any, indent: str) -> Iterator[str]:
    if isinstance(value, Mapping) and value:
        yield head
        yield from (indent + line for line in _mapping(value))
    elif isinstance(value, Sequence) and not isinstance(value, str) and value:
        yield head
        for item in value:
            yield from (indent + line for line in _item(item))
    elif isinstance(value, str) and value.endswith("\n") and not value[0].isspace():
        yield f"{head} |"
        yield from ((indent + line).rstrip() for line in value.splitlines())
    else:
        yield f"{head} {_scalar(value)}"


def _item(value: Any) -> Iterator[str]:
    """A mapping begins beside its dash."""
    if not isinstance(value, Mapping):
        yield from _entry("-", value, "  ")
        return
    for number, line in enumerate(_mapping(value)):
        yield ("- " if number == 0 else "  ") + line


def _scalar(value: Any) -> str:
    if isinstance(value, str) and PLAIN.fullmatch(value):
        return value
    return json.dumps(value, ensure_ascii=False)
