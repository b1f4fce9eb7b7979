"""Diagnostics as text: one module per format, each with a function `OUTPUT`."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module

from tunelang.diagnostic import Diagnostic

OUTPUTS = ("full", "concise", "json", "sarif", "github", "junit")


def render(name: str, found: Sequence[Diagnostic], *, colour: bool = False) -> str:
    """The findings in the format of that name; only `full` knows colour."""
    output = import_module(f"tunelang.output.{name}").OUTPUT
    text: str = output(found, colour=colour) if name == "full" else output(found)
    return text
