"""What programs and people read of findings: SARIF, workflow commands, JUnit, and the carets."""

from __future__ import annotations

import json
import subprocess
import sys
from io import StringIO
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from rich.cells import cell_len

from tunelang.diagnostic import Diagnostic, Edit, Fix, Label, Severity, error, warning
from tunelang.output import OUTPUTS, coloured, render
from tunelang.source import Source, Span

WIDE = Source("dir name/ré.tune", 'tune 1\nlet a = "漢😀"  # é\nlet\tb = c\n')


def span(part: str, source: Source = WIDE) -> Span:
    start = source.text.index(part)
    return Span(source, start, start + len(part))


PLACED = error(
    "TL101",
    "unknown-name",
    "`c` is 100% unknown",
    span("c", Source("x", "c")),
    "declared nowhere",
    help="one, two: three\nfour",
)
NOWHERE = error("TL012", "unreadable-file", "`x.tune` does not exist", None)
COMMAND_LINE = error("TL116", "override-of-nothing", "no", span("b", Source("--set", "b = 1")))
WARNED = warning("TL205", "k-is-1000", "round", span('"漢😀"'), "2048?")
FIX = Fix("c → d", (Edit(span("b = c"), "b = d"), Edit(span("a"), "x")), safe=True)
FIXED = error("TL101", "unknown-name", "c", span("b"), "here", others=(Label(span("a"), "a"),))
FIXED = Diagnostic(**{**FIXED.__dict__, "fix": FIX})
EVERY = [PLACED, NOWHERE, COMMAND_LINE, WARNED, FIXED]


@pytest.mark.parametrize("name", OUTPUTS)
@pytest.mark.parametrize("found", [EVERY, [], [NOWHERE]], ids=["every", "none", "no place"])
def test_every_output_takes_every_finding(name: str, found: list[Diagnostic]) -> None:
    """Nothing raises, and what is text ends with its line."""
    text = render(name, found)
    assert text == "" or text.endswith("\n")
    assert all(each.code in text for each in found)


# --- SARIF: the properties that the schema of 2.1.0 requires or allows where we write -------------

ALLOWED = {
    "log": ({"version", "runs"}, {"$schema"}),
    "run": ({"tool"}, {"results", "columnKind", "invocations"}),
    "invocation": ({"executionSuccessful"}, {"toolConfigurationNotifications"}),
    "notification": ({"message"}, {"level", "associatedRule"}),
    "driver": ({"name"}, {"version", "semanticVersion", "rules"}),
    "rule": (
        {"id"},
        {"name", "shortDescription", "help", "defaultConfiguration", "properties"},
    ),
    "result": (
        {"message"},
        {"ruleId", "ruleIndex", "level", "locations", "relatedLocations", "fixes"},
    ),
    "location": ({"physicalLocation"}, {"id", "message"}),
    "physical": ({"artifactLocation"}, {"region"}),
    "region": ({"startLine", "startColumn", "endLine", "endColumn"}, set()),
    "fix": ({"artifactChanges"}, {"description"}),
    "change": ({"artifactLocation", "replacements"}, set()),
    "replacement": ({"deletedRegion"}, {"insertedContent"}),
}


def fits(kind: str, value: dict[str, Any]) -> dict[str, Any]:
    needed, optional = ALLOWED[kind]
    assert needed <= set(value) <= needed | optional, kind
    return value


def sarif(found: list[Diagnostic]) -> dict[str, Any]:
    """The run of a log, after every object was held against what the schema allows."""
    log = fits("log", json.loads(render("sarif", found)))
    assert log["version"] == "2.1.0"
    (run,) = log["runs"]
    fits("run", run)
    rules = fits("driver", run["tool"]["driver"])["rules"]
    for rule in rules:
        assert fits("rule", rule)["defaultConfiguration"]["level"] in ("error", "warning", "note")
    assert len({rule["id"] for rule in rules}) == len(rules)
    (invocation,) = run["invocations"]
    for notice in fits("invocation", invocation)["toolConfigurationNotifications"]:
        rule = fits("notification", notice)["associatedRule"]
        assert rules[rule["index"]]["id"] == rule["id"]
    for result in run["results"]:
        assert fits("result", result)["locations"], "GitHub refuses a result without one"
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
        for location in result.get("locations", []) + result.get("relatedLocations", []):
            region(fits("physical", fits("location", location)["physicalLocation"])["region"])
        for fix in result.get("fixes", []):
            for change in fits("fix", fix)["artifactChanges"]:
                for replacement in fits("change", change)["replacements"]:
                    region(fits("replacement", replacement)["deletedRegion"])
    return dict(run)


def region(value: dict[str, Any]) -> None:
    numbers = [value[key] for key in ("startLine", "startColumn", "endLine", "endColumn")]
    assert all(isinstance(each, int) and each >= 1 for each in numbers)
    assert (value["startLine"], value["startColumn"]) <= (value["endLine"], value["endColumn"])
    fits("region", value)


def test_sarif_is_sound() -> None:
    """What has a file is a result, what has none a notification; each rule stands once."""
    run = sarif(EVERY)
    assert [each["ruleId"] for each in run["results"]] == ["TL101", "TL205", "TL101"]
    notices = run["invocations"][0]["toolConfigurationNotifications"]
    assert [each["associatedRule"]["id"] for each in notices] == ["TL012", "TL116"]
    rules = [each["id"] for each in run["tool"]["driver"]["rules"]]
    assert rules == ["TL101", "TL012", "TL116", "TL205"]
    assert sarif([])["results"] == []


def test_sarif_leaves_out_related_places_without_a_file() -> None:
    """A cause on the command line has no region that a reader could open."""
    others = (Label(span("b", Source("--set", "b = 1")), "set"), Label(span("a"), "there"))
    found = Diagnostic(**{**FIXED.__dict__, "others": others})
    related = sarif([found])["results"][0]["relatedLocations"]
    assert [(each["id"], each["message"]["text"]) for each in related] == [(1, "there")]


def test_sarif_columns_are_utf16_and_uris_are_quoted() -> None:
    """An emoji is two units; a path with a space and an accent is a URI relative to this folder."""
    location = sarif([WARNED])["results"][0]["locations"][0]["physicalLocation"]
    assert location["artifactLocation"] == {"uri": "dir%20name/r%C3%A9.tune"}
    assert location["region"]["startColumn"] == 9
    assert location["region"]["endColumn"] == 9 + len('"漢😀"'.encode("utf-16-le")) // 2 == 14


def test_sarif_paths_are_relative_where_they_can_be(tmp_path: Path) -> None:
    """A file below this folder is relative even where it was named in full."""
    inside = Source(str(Path.cwd() / "a" / "b.tune"), "c")
    outside = Source(str(tmp_path / "b.tune"), "c")
    uris = [
        each["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
        for each in sarif([error("TL101", "n", "m", span("c", s)) for s in (inside, outside)])[
            "results"
        ]
    ]
    assert uris == ["a/b.tune", f"file://{tmp_path}/b.tune"]


def test_sarif_fixes_replace_exactly_the_spans_of_their_edits() -> None:
    """One change a file, one replacement an edit."""
    (fix,) = sarif([FIXED])["results"][0]["fixes"]
    assert fix["description"]["text"] == "c → d (safe)"
    (change,) = fix["artifactChanges"]
    first = change["replacements"][0]
    assert first["insertedContent"] == {"text": "b = d"}
    assert first["deletedRegion"] == {
        "startLine": 3,
        "startColumn": 5,
        "endLine": 3,
        "endColumn": 10,
    }


def test_sarif_rules_carry_their_pages() -> None:
    """A rule brings its page, so that code scanning explains it offline."""
    rule = sarif([error("TL202", "wrong-dimension", "m", None)])["tool"]["driver"]["rules"][0]
    assert rule["help"]["markdown"].startswith("# wrong-dimension\n")
    assert rule["properties"]["page"] == "docs/rules/wrong-dimension.md"


# --- GitHub ------------------------------------------------------------------------------------


def test_github_commands_are_escaped() -> None:
    """Percent signs and line ends in the text, and colons and commas in properties as well."""
    assert render("github", [PLACED]) == (
        "::error file=x,line=1,endLine=1,col=1,endColumn=2,title=TL101 unknown-name"
        "::`c` is 100%25 unknown%0Aone, two: three%0Afour\n"
    )
    odd = Source("a,b:c%.tune", "c")
    text = render("github", [error("TL101", "n", "m", span("c", odd))])
    assert text.startswith("::error file=a%2Cb%3Ac%25.tune,line=1")


def test_github_without_a_place_and_over_several_lines() -> None:
    """No file where none is to blame; no columns where the lines differ; a hint is a notice."""
    assert render("github", [NOWHERE]).startswith("::error title=TL012 unreadable-file::")
    long = Diagnostic("TS09", "long", Severity.HINT, "m", Label(span("1\nlet a"), ""))
    assert render("github", [long]).startswith(
        "::notice file=dir name/ré.tune,line=1,endLine=2,title="
    )


# --- JUnit --------------------------------------------------------------------------------------


def test_junit_has_a_suite_a_file_and_only_errors_fail() -> None:
    """Counts agree with what is there, and no two cases of a suite share their name."""
    root = ET.fromstring(render("junit", [*EVERY, FIXED]))
    assert (root.get("tests"), root.get("failures")) == ("6", "5")
    suites = {each.get("name"): each for each in root}
    assert set(suites) == {"x", "tunelang", "dir name/ré.tune"}
    for suite in suites.values():
        names = [each.get("name") for each in suite]
        assert len(set(names)) == len(names) == int(suite.get("tests", ""))
        assert len(suite.findall("testcase/failure")) == int(suite.get("failures", ""))
    warned = suites["dir name/ré.tune"][0]
    assert "warning[TL205]" in warned.findtext("system-out", "")


def test_junit_without_findings_and_with_what_xml_cannot_hold() -> None:
    """A clean run is one passing case; a NUL in a message does not break the document."""
    clean = ET.fromstring(render("junit", []))
    assert [each.get("name") for each in clean.iter("testcase")] == ["no findings"]
    odd = error("TL008", "stray-character", "a \x00 and \x1b", span("c", Source("x", "c\x00")))
    failure = ET.fromstring(render("junit", [odd])).find("testsuite/testcase/failure")
    assert failure is not None and failure.get("message") == "a � and �"


# --- people ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "blamed"),
    [
        ("let a = c", "c"),
        ("\tlet\ta = c", "c"),
        ('x = ["漢字", c]', "c"),
        ('x = ["😀😀", c]', "c"),
        ('x = ["e\u0301\u0301", c]', "c"),
        ('x = ["👩\u200d👧", c]', "c"),
        ('x = ["⚠️", c]', "c"),
        ("x = 漢字", "漢字"),
        ("x\u00a0= c", "\u00a0"),
        ("a\x00b = c", "c"),
        ("é = \t\tc\t# 漢", "c"),
    ],
)
def test_carets_stand_under_what_they_mean(line: str, blamed: str) -> None:
    """Column by column: tabs, wide characters, accents, and characters that cannot be printed."""
    text = render("full", [error("TL101", "n", "m", span(blamed, Source("x", line)), "here")])
    shown, carets = text.splitlines()[2:4]
    printed = "�" if not blamed.isprintable() else blamed
    before, _, _ = shown.rpartition(printed) if blamed == "c" else shown.partition(printed)
    assert cell_len(carets[: carets.index("^")]) == cell_len(before)
    assert carets.count("^") == cell_len(printed)
    assert "\t" not in shown


@pytest.mark.parametrize("at", [0, 50, 300, 5000, 9_990])
def test_long_lines_are_cut_round_the_caret(at: int) -> None:
    """However long a line is, its excerpt is not, and the caret stands where it should."""
    line = "漢" * at + "c" + "x" * (10_000 - at)
    label = Label(span("c", Source("x", line)), "here")
    found = Diagnostic("TL101", "n", Severity.ERROR, "m", label)
    shown, carets = render("full", [found]).splitlines()[2:4]
    assert len(shown) < 220 and "…" in shown
    before, _, _ = shown.partition("c")
    assert cell_len(carets[: carets.index("^")]) == cell_len(before)
    two = Diagnostic(**{**found.__dict__, "others": (Label(Span(label.span.source, 0, 1), "a"),)})
    assert len(render("full", [two])) < 1000


def test_colour_is_for_terminals_that_want_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not where the output is piped, and not with NO_COLOR; an empty one means nothing."""

    class Terminal(StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("NO_COLOR", "")
    assert coloured(Terminal()) and not coloured(StringIO())
    assert "\x1b[" in render("full", [PLACED], colour=True)
    monkeypatch.setenv("NO_COLOR", "1")
    assert not coloured(Terminal())


def test_several_files_in_every_output(tmp_path: Path) -> None:
    """A broken recipe, a sound one and one that is missing: every output, exit code 1."""
    (tmp_path / "a.tune").write_text("tune 1\nstage s: sfft {\n}\n")
    (tmp_path / "b.tune").write_text("tune 1\n")
    for name in OUTPUTS:
        words = ["check", "--output", name, "a.tune", "b.tune", "gone.tune"]
        command = [sys.executable, "-m", "tunelang", *words]
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
        assert done.returncode == 1, done.stderr
        assert "TL104" in done.stdout and "TL012" in done.stdout
