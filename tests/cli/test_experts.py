"""`tunelang experts`: the authors' selection from the authors' scores, and mistakes told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from tunelang.cli.experts import experts

LAW = Path(__file__).parents[1] / "data" / "esft_law.json"


APP = typer.Typer()
APP.command()(experts)


def said(*words: str, code: int = 0) -> str:
    done = CliRunner().invoke(APP, words)
    assert done.exit_code == code, done.output
    return done.output


def test_the_published_config_is_written(tmp_path: Path) -> None:
    """26 of 26 layers, in DeepSeek's form, and a table with a line for each."""
    path = tmp_path / "law.json"
    shown = said(str(LAW), "--score", "token", "--mass", "0.2", "--output", str(path))
    published = json.loads(LAW.read_text())["selected"]
    written = json.loads(path.read_text())
    assert written["experts"] == published
    assert written["shared_experts"] is written["non_expert_modules"] is False
    lines = shown.splitlines()
    assert len(lines) == 1 + 26 + 2
    assert lines[1].split() == ["1", "9/64", "21.9%", *map(str, published["1"])]
    assert "153 of 1664 experts train (9.2%), 5.88 a layer" in shown


def test_masses_are_the_papers_unless_given(tmp_path: Path) -> None:
    """20% of the token score, 10% of the gates."""
    assert said(str(LAW)) == said(str(LAW), "--mass", "0.2") == said(str(LAW), "--mass", "20%")
    path = tmp_path / "gates.json"
    path.write_text(json.dumps({"gate_scores": {"1": [0.2, 0.06, 0.05, 0.02]}}))
    assert "1/4" in said(str(path), "--score", "gate")
    assert "2/4" in said(str(path), "--score", "gate", "--mass", "0.25")


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--score", "gate"], "token scores, not gate"),
        (["--mass", "20"], "no share"),
        (["--mass", "0"], "no share"),
        (["--mass", "much"], "no share"),
        (["--mass", "120%"], "no share"),
        (["--output", "no/such/folder/x.json"], "cannot be written"),
    ],
)
def test_mistakes_are_told(words: list[str], reason: str) -> None:
    """Each ends with a finding and exit code 1."""
    assert reason in said(str(LAW), *words, code=1)


def test_files_without_scores_are_told(tmp_path: Path) -> None:
    """What is not there, no JSON, or no scores."""
    path = tmp_path / "x.json"
    assert "No such file" in said(str(path), code=1)
    path.write_bytes(b"\xff{")
    assert "no JSON" in said(str(path), code=1)
    path.write_text("{}")
    assert "no token scores" in said(str(path), code=1)
