"""Edits applied to a text: fixes and hashes end here."""

from __future__ import annotations

from collections.abc import Iterable

from tunelang.diagnostic import Edit


def edited(text: str, edits: Iterable[Edit]) -> str:
    """The text after edits that do not overlap; from the last to the first, so places hold."""
    for edit in sorted(edits, key=lambda edit: edit.span.start, reverse=True):
        text = text[: edit.span.start] + edit.text + text[edit.span.end :]
    return text
