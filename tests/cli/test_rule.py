"""`tunelang rule` and `check --explain`: the pages of the rules where people meet them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tunelang.rules.pages import pages


def tunelang(*words: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tunelang", *words]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder)


@pytest.mark.parametrize("wanted", ["wrong-dimension", "TL202", "tl202", "Wrong-Dimension"])
def test_a_page_by_name_or_code(wanted: str) -> None:
    """Piped, it is the page as it is written."""
    assert tunelang("rule", wanted).stdout == pages()["wrong-dimension"].text


@pytest.mark.parametrize(
    ("wanted", "guess"), [("wrong-dimention", "`wrong-dimension`"), ("TL2022", "`TL202`")]
)
def test_an_unknown_rule_is_guessed(wanted: str, guess: str) -> None:
    """A finding with a guess, and exit code 1."""
    done = tunelang("rule", wanted)
    assert done.returncode == 1 and done.stdout == ""
    assert f"no rule is called `{wanted}`" in done.stderr
    assert f"did you mean {guess}" in done.stderr


def test_what_a_run_says_is_no_rule() -> None:
    """A code without a page gets no guess at another one."""
    done = tunelang("rule", "TL721")
    assert done.returncode == 1
    assert "has no page" in done.stderr and "did you mean" not in done.stderr


def test_all_rules_are_listed() -> None:
    """One line a rule with code, severity, fix and name; the same as JSON."""
    lines = tunelang("rule").stdout.splitlines()
    assert len(lines) == len(pages())
    assert "TL202  error                wrong-dimension" in lines
    listed = json.loads(tunelang("rule", "--json").stdout)
    assert [each["name"] for each in listed] == list(pages())
    one = json.loads(tunelang("rule", "--json", "TL202").stdout)
    assert (one["severity"], one["fix"]) == ("error", None)
    assert one["text"].startswith("# wrong-dimension\n")


def test_explain_appends_each_page_once(tmp_path: Path) -> None:
    """Two findings of one rule bring one page; formats for programs refuse."""
    (tmp_path / "r.tune").write_text(
        "tune 1\nhardware a { memory = 80G }\nhardware b { memory = 70G }\n"
    )
    done = tunelang("check", "--explain", "r.tune", folder=tmp_path)
    assert done.stdout.count("TL204] unknown-unit") == 2
    assert done.stdout.count("# unknown-unit\n") == 1
    assert tunelang("check", "--explain", "--output", "json", "r.tune").returncode == 2
