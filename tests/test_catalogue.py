"""The catalogues of licences and tasks hold together, and fixes that need this machine are made."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from tunelang.catalog import licences, tasks
from tunelang.diagnostic import Fix
from tunelang.plan import findings
from tunelang.rules import fixes

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def test_licences_that_must_be_kept_are_in_the_catalogue() -> None:
    """What stays on derived weights can be written in a release, and keeps its own name."""
    entries = tomllib.loads(licences.FILE.read_text("utf-8"))["licences"]
    for name, entry in entries.items():
        assert entry["source"].startswith("https://")
        kept = entry.get("keep", [])
        assert all(other in entries for other in kept)
        assert not kept or name in kept


@pytest.mark.parametrize(
    ("model", "whose"),
    [
        ("gpt-4o", "OpenAI"),
        ("openai/gpt-oss-20b", None),
        ("EleutherAI/gpt-j-6b", None),
        ("claude-sonnet", "Anthropic"),
        ("meta-llama/Meta-Llama-3-8B", "Meta"),
        ("meta-llama/Llama-3.1-8B", None),
    ],
)
def test_whose_terms_restrict_training(model: str, whose: str | None) -> None:
    """Closed services do, open models do not; Llama allows it from 3.1 on."""
    found = licences.writer(model)
    assert (found.name if found else None) == whose


def test_versions_of_tasks_are_text() -> None:
    """As a recipe writes them: "3.0", not 3."""
    assert tasks.version("gsm8k") == "3.0"
    assert tasks.version("no_such_task") is None


def test_a_branch_is_pinned_to_the_commit_that_was_downloaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hub's cache knows it; without that there is no fix."""
    recipe = tmp_path / "recipe.tune"
    recipe.write_text('tune 1\nmodel small = hf("acme/small", licence = "mit")\n')

    def offered() -> list[Fix]:
        found = findings.of_file(recipe).found
        return [each.fix for each in found if each.code == "TL801" and each.fix]

    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    assert not offered()
    refs = tmp_path / "models--acme--small" / "refs"
    refs.mkdir(parents=True)
    (refs / "main").write_text(COMMIT)
    (fix,) = offered()
    assert not fix.safe
    text, _ = fixes.apply(fix.edits[0].span.source, [fix])
    assert f'licence = "mit", revision = "{COMMIT}")' in text
