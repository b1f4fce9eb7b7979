"""Diagnostics one a line: `path:line:column: severity[CODE] name: message`."""

from __future__ import annotations

from collections.abc import Sequence

from tunelang.diagnostic import Diagnostic


def OUTPUT(found: Sequence[Diagnostic]) -> str:
    """Findings in the order they were made."""
    return "".join(
        f"{_place(each)}: {each.severity}[{each.code}] {each.name}: {each.message}\n"
        for each in found
    )


def _place(each: Diagnostic) -> str:
    return each.at.span.place if each.at else "tunelang"
