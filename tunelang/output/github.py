"""Diagnostics as workflow commands: GitHub Actions writes them beside the lines of a pull request.

The escapes are those of the runner: % and line ends everywhere, and in properties also : and ,
(docs.github.com, "Workflow commands for GitHub Actions").
"""

from __future__ import annotations

from collections.abc import Sequence

from tunelang.diagnostic import Diagnostic, Severity
from tunelang.output.files import file_of

COMMANDS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.HINT: "notice"}
IN_TEXT = {"%": "%25", "\r": "%0D", "\n": "%0A"}
IN_PROPERTY = {**IN_TEXT, ":": "%3A", ",": "%2C"}


def OUTPUT(found: Sequence[Diagnostic]) -> str:
    """One command a finding."""
    return "".join(f"{_command(each)}\n" for each in found)


def _command(each: Diagnostic) -> str:
    properties = {**_place(each), "title": f"{each.code} {each.name}"}
    inner = ",".join(f"{key}={_escaped(text, IN_PROPERTY)}" for key, text in properties.items())
    text = f"{each.message}\n{each.help}" if each.help else each.message
    return f"::{COMMANDS[each.severity]} {inner}::{_escaped(text, IN_TEXT)}"


def _place(each: Diagnostic) -> dict[str, str]:
    """Columns only within one line: GitHub refuses them on several."""
    file = file_of(each)
    if each.at is None or file is None:
        return {}
    span = each.at.span
    line, column = span.source.position(span.start)
    end_line, end_column = span.source.position(span.end)
    place = {"file": file, "line": str(line), "endLine": str(end_line)}
    if line == end_line:
        place |= {"col": str(column), "endColumn": str(end_column)}
    return place


def _escaped(text: str, escapes: dict[str, str]) -> str:
    return "".join(escapes.get(character, character) for character in text)
