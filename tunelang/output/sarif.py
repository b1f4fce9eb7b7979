"""Diagnostics as SARIF 2.1.0 for code scanning, with the pages of the rules and the fixes.

Columns count UTF-16 units from 1, ends are exclusive (OASIS SARIF 2.1.0, 3.30). GitHub refuses a
whole log for one result without a file (github/codeql-action #2459), so what no file is to blame
for is told as notifications of the run.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from tunelang import __version__
from tunelang.diagnostic import Diagnostic, Edit, Fix, Label, Severity
from tunelang.output.files import file_of, relative
from tunelang.rules.pages import page
from tunelang.source import Span

SCHEMA = (
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
)
LEVELS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.HINT: "note"}


def OUTPUT(found: Sequence[Diagnostic]) -> str:
    """One log with one run."""
    rules = list(dict.fromkeys((each.code, each.name, each.severity) for each in found))
    numbers = {code: number for number, (code, _, _) in enumerate(_once(rules))}
    run = {
        "tool": {"driver": {**_driver(), "rules": [_rule(*rule) for rule in _once(rules)]}},
        "columnKind": "utf16CodeUnits",
        "invocations": [_invocation([each for each in found if not file_of(each)], numbers)],
        "results": [_result(each, numbers[each.code]) for each in found if file_of(each)],
    }
    log = {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}
    return json.dumps(log, indent=2, ensure_ascii=False) + "\n"


def _driver() -> dict[str, str]:
    return {"name": "tunelang", "version": __version__, "semanticVersion": __version__}


def _once(rules: Iterable[tuple[str, str, Severity]]) -> list[tuple[str, str, Severity]]:
    """A rule that a run makes more severe is still one rule."""
    return list({rule[0]: rule for rule in rules}.values())


def _rule(code: str, name: str, severity: Severity) -> dict[str, Any]:
    """`helpUri` must be absolute, so the page comes along whole and `page` says where it lies."""
    described = page(name)
    text = described.summary if described else name.replace("-", " ")
    level = LEVELS[described.severity if described else severity]
    rule: dict[str, Any] = {
        "id": code,
        "name": name,
        "shortDescription": {"text": text},
        "defaultConfiguration": {"level": level},
        "properties": {"tags": [name]},
    }
    if described:
        rule["help"] = {"text": described.text, "markdown": described.text}
        rule["properties"]["page"] = f"docs/rules/{name}.md"
    return rule


def _invocation(found: Sequence[Diagnostic], numbers: Mapping[str, int]) -> dict[str, Any]:
    """That the command ran, and what is wrong beside the text of a file."""
    notices = [
        {**_said(each), "associatedRule": {"id": each.code, "index": numbers[each.code]}}
        for each in found
    ]
    return {"executionSuccessful": True, "toolConfigurationNotifications": notices}


def _said(each: Diagnostic) -> dict[str, Any]:
    text = f"{each.message}\n{each.help}" if each.help else each.message
    return {"level": LEVELS[each.severity], "message": {"text": text}}


def _result(each: Diagnostic, number: int) -> dict[str, Any]:
    result = {"ruleId": each.code, "ruleIndex": number, **_said(each)}
    places = [_location(label) for label in (each.at, *each.others) if label]
    result["locations"] = [place for place in places[:1] if place]
    related = [place for place in places[1:] if place]
    if related:
        result["relatedLocations"] = [{"id": n, **each} for n, each in enumerate(related, 1)]
    fix = _fix(each.fix) if each.fix else None
    return {**result, "fixes": [fix]} if fix else result


def _location(label: Label) -> dict[str, Any] | None:
    """A place in a file; None for what stands on the command line."""
    artifact = _artifact(label.span)
    if artifact is None:
        return None
    message = {"message": {"text": label.text}} if label.text else {}
    where = {"artifactLocation": artifact, "region": _region(label.span)}
    return {**message, "physicalLocation": where}


def _artifact(span: Span) -> dict[str, str] | None:
    """A URI relative to the folder the command ran in; of a file elsewhere an absolute one."""
    path = relative(span.source)
    if path is None:
        return None
    return {"uri": f"file://{quote(path)}" if path.startswith("/") else quote(path)}


def _region(span: Span) -> dict[str, int]:
    line, column = span.source.utf16(span.start)
    end_line, end_column = span.source.utf16(span.end)
    return {
        "startLine": line + 1,
        "startColumn": column + 1,
        "endLine": end_line + 1,
        "endColumn": end_column + 1,
    }


def _fix(fix: Fix) -> dict[str, Any] | None:
    """Edits by file, as one change a file; None where a fix changes no file."""
    files: dict[str, list[Edit]] = {}
    for edit in fix.edits:
        artifact = _artifact(edit.span)
        if artifact:
            files.setdefault(artifact["uri"], []).append(edit)
    if not files:
        return None
    kind = "safe" if fix.safe else "unsafe"
    changes = [
        {"artifactLocation": {"uri": uri}, "replacements": [_replacement(edit) for edit in edits]}
        for uri, edits in files.items()
    ]
    return {"description": {"text": f"{fix.title} ({kind})"}, "artifactChanges": changes}


def _replacement(edit: Edit) -> dict[str, Any]:
    return {"deletedRegion": _region(edit.span), "insertedContent": {"text": edit.text}}
