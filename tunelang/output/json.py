"""Diagnostics as a JSON list for other programs. Lines and columns count from 1."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from tunelang.diagnostic import Diagnostic, Label
from tunelang.source import Span


def OUTPUT(found: Sequence[Diagnostic]) -> str:
    """Every finding with its places, help and edits."""
    return json.dumps([_one(each) for each in found], indent=2, ensure_ascii=False) + "\n"


def _one(each: Diagnostic) -> dict[str, Any]:
    return {
        "code": each.code,
        "name": each.name,
        "severity": str(each.severity),
        "message": each.message,
        "at": _label(each.at) if each.at else None,
        "others": [_label(label) for label in each.others],
        "help": each.help or None,
        "fix": each.fix
        and {
            "title": each.fix.title,
            "safe": each.fix.safe,
            "edits": [{**_range(edit.span), "text": edit.text} for edit in each.fix.edits],
        },
    }


def _label(label: Label) -> dict[str, Any]:
    return {**_range(label.span), "label": label.text}


def _range(span: Span) -> dict[str, Any]:
    line, column = span.source.position(span.start)
    end_line, end_column = span.source.position(span.end)
    return {
        "file": span.source.name,
        "line": line,
        "column": column,
        "end_line": end_line,
        "end_column": end_column,
    }
