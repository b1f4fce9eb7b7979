"""`tunelang docs`: a recipe as Markdown, with everything a reader asks of it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from cases import skip_without_model
from markdown_it import MarkdownIt

from tunelang.plan.document import code, introduction, table

ROOT = Path(__file__).parents[2]
RECIPES = sorted((ROOT / "recipes").glob("*.tune"))


def docs(*words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tunelang", "docs", *words]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder)


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_as_markdown(path: Path, tmp_path: Path) -> None:
    """Title, introduction, graph, and a row for each stage, model and data set."""
    skip_without_model(path.read_text())
    text = docs(str(path), folder=tmp_path).stdout
    assert text.startswith(f"# {path.stem}\n\n{introduction(path.read_text())}\n\n## Stages\n")
    assert "```mermaid\ngraph LR\n" in text
    for name in re.findall(r"^(?:stage|model|data) (\w+)", path.read_text(), re.MULTILINE):
        assert f"\n| `{name}` |" in text
    html = MarkdownIt("commonmark").enable("table").render(text)
    rows = [row.count("<td") for row in re.findall(r"<tr>\n(.*?)</tr>", html, re.DOTALL)]
    assert len(rows) >= 8 and "|" not in re.sub(r"<pre>.*?</pre>", "", html, flags=re.DOTALL)


def test_gates_mixes_profiles_and_budget_are_told(tmp_path: Path) -> None:
    """What the large recipe has beside its stages; under a profile its values."""
    path = str(ROOT / "recipes" / "llama-8b-rlhf.tune")
    text = docs(path, folder=tmp_path).stdout
    assert "| `judge` | `accuracy >= 70%` |" in text
    assert "`domain_mix` is 90% `pubmed`, 10% `replay`." in text
    assert "```tune\nprofile laptop {\n" in text
    assert "- budget: cost `$6000`, time `14d`" in text
    assert '| `llama` | `hf("meta-llama/Llama-3.1-8B", revision = "d04e592")` |' in text
    laptop = docs("--profile", "laptop", path, folder=tmp_path).stdout
    assert "profile `laptop`" in laptop and "SmolLM2-135M" in laptop


def test_it_is_written_where_it_is_asked_for(tmp_path: Path) -> None:
    """`-o` writes what stdout would get; a recipe with mistakes has no page."""
    path = str(ROOT / "recipes" / "llama-8b-rlhf.tune")
    assert docs(path, "-o", "a/b.md", folder=tmp_path).stdout == ""
    assert (tmp_path / "a" / "b.md").read_text() == docs(path, folder=tmp_path).stdout
    (tmp_path / "r.tune").write_text("tune 1\nstage s: sfft {\n}\n")
    broken = docs("r.tune", "-o", "c.md", folder=tmp_path)
    assert broken.returncode == 1 and "TL104" in broken.stderr
    assert not (tmp_path / "c.md").exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("tune 1\n## a\n## b\n\nlet c = 1\n", "a\nb"),
        ("tune 1\n\n## a\n\n## of c\nlet c = 1\n", "a"),
        ("tune 1\n## of c\nlet c = 1\n", ""),
        ("## a", "a"),
        ("", ""),
    ],
)
def test_the_introduction_stands_alone(text: str, said: str) -> None:
    """Lines right above a declaration are that declaration's."""
    assert introduction(text) == said


def test_markdown_is_escaped() -> None:
    """A backtick, a bar and a line end stay what they are."""
    assert code("a`b") == "``a`b``"
    assert table(("x", "empty"), [("a|b\nc", "")]) == "| x |\n| --- |\n| a\\|b c |"
