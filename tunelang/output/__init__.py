"""Diagnostics as text: one module per format, each with a function `OUTPUT`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib import import_module
from typing import TextIO

from tunelang.diagnostic import Diagnostic

OUTPUTS = ("full", "concise", "json", "sarif", "github", "junit")


def render(name: str, found: Sequence[Diagnostic], *, colour: bool = False) -> str:
    """The findings in the format of that name; only `full` knows colour."""
    output = import_module(f"tunelang.output.{name}").OUTPUT
    text: str = output(found, colour=colour) if name == "full" else output(found)
    return text


def coloured(stream: TextIO) -> bool:
    """Whether findings are painted there: on a terminal, unless NO_COLOR says no (no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR")
