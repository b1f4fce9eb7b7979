"""Diagnostics as JUnit XML: a suite a file, a case a finding.

Errors are failures. Warnings and hints are cases that pass and say what was found, as `check`
passes them too.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import count
from xml.etree import ElementTree as ET

from tunelang.diagnostic import Diagnostic, Severity
from tunelang.output.concise import OUTPUT as concise
from tunelang.output.files import file_of

ELSEWHERE = "tunelang"  # the suite of findings that no file is to blame for
# What XML 1.0 cannot hold, even escaped (section 2.2, Char).
FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def OUTPUT(found: Sequence[Diagnostic]) -> str:
    """A whole document. Without findings it holds one case that passes: readers refuse none."""
    suites: dict[str, list[Diagnostic]] = {} if found else {ELSEWHERE: []}
    for each in found:
        suites.setdefault(file_of(each) or ELSEWHERE, []).append(each)
    root = ET.Element("testsuites", {"name": "tunelang check", **_counts(found)})
    for name, inside in suites.items():
        _suite(root, name, inside)
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, "unicode") + "\n"


def _counts(found: Sequence[Diagnostic]) -> dict[str, str]:
    failures = sum(each.severity is Severity.ERROR for each in found)
    return {"tests": str(max(1, len(found))), "failures": str(failures), "errors": "0"}


def _suite(root: ET.Element, name: str, found: Sequence[Diagnostic]) -> None:
    suite = ET.SubElement(root, "testsuite", {"name": _sound(name), **_counts(found)})
    if not found:
        ET.SubElement(suite, "testcase", {"name": "no findings", "classname": ELSEWHERE})
    numbers: dict[str, count[int]] = {}
    for each in found:
        place = _place(each)
        again = next(numbers.setdefault(place, count(1)))
        _case(suite, each, place if again == 1 else f"{place} ({again})")


def _place(each: Diagnostic) -> str:
    if each.at is None:
        return each.name
    line, column = each.at.span.source.position(each.at.span.start)
    return f"{each.name} {line}:{column}"


def _case(suite: ET.Element, each: Diagnostic, name: str) -> None:
    classname = file_of(each) or ELSEWHERE
    case = ET.SubElement(suite, "testcase", {"name": _sound(name), "classname": _sound(classname)})
    if each.at and file_of(each):
        line, _ = each.at.span.source.position(each.at.span.start)
        case.attrib |= {"file": _sound(classname), "line": str(line)}
    if each.severity is Severity.ERROR:
        kind = {"type": each.code, "message": _sound(each.message)}
        ET.SubElement(case, "failure", kind).text = _text(each)
    else:
        ET.SubElement(case, "system-out").text = _text(each)


def _text(each: Diagnostic) -> str:
    return _sound(concise([each]) + (f"help: {each.help}\n" if each.help else ""))


def _sound(text: str) -> str:
    return FORBIDDEN.sub("�", text)
