"""The colours of editors: made from the grammar, current, and what VS Code makes of them."""

from __future__ import annotations

import json
import runpy
import shutil
import subprocess
from pathlib import Path

import pytest

from tunelang.recipe.kinds import KINDS
from tunelang.source import Source
from tunelang.syntax.lexer import lex

ROOT = Path(__file__).parents[1]
MADE = runpy.run_path(str(ROOT / "grammar" / "textmate.py"))
VSCODE = ROOT / "grammar" / "vscode"
SAMPLES = [
    *sorted((ROOT / "tests" / "samples").glob("*.tune")),
    *sorted((ROOT / "recipes").glob("*.tune")),
    ROOT / "tests" / "identity.tune",
]
BROKEN = """tune 1
let a = "no end
let b = 007 .5 ; “x”
let c = \"\"\"two
lines, # no comment, stage in: text\"\"\"
stage x: sft { train = 3 epochs, importer = asleep, gate { a == 1%, b(c.hold_out) != -2 } }
## A page.
stage y extends other.x { weights.rank = 4 }  # why
"""
NAMES = {
    MADE[each]
    for each in ("KIND", "DECLARED", "TYPE", "PARENT", "CALLED", "SECTION", "FIELD", "NOUN")
} | {MADE["SCOPES"]["NAME"]}

needs_node = pytest.mark.skipif(
    not (shutil.which("node") and (VSCODE / "node_modules").exists()),
    reason="VS Code's tokeniser is not installed: `make vsix` does",
)
Scopes = dict[int, str]  # offset -> scope of that character


def test_the_grammar_file_is_current() -> None:
    """`python grammar/textmate.py` would write what is committed."""
    assert MADE["TARGET"].read_text("utf-8") == MADE["text"]()


def test_every_kind_is_known() -> None:
    """The kinds stand in the pattern of declarations, from the one list of them."""
    patterns = json.dumps(MADE["grammar"]())
    assert f"({'|'.join([*KINDS, 'every'])})" in patterns


def colours(path: Path) -> Scopes:
    """What VS Code's tokeniser says of each character."""
    command = ["node", str(VSCODE / "tokenise.mjs"), str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return {
        at: scope.removesuffix(".tune")
        for start, end, scope in json.loads(done.stdout)
        for at in range(start, end)
    }


def wrong(text: str, scopes: Scopes) -> list[tuple[str, str, str]]:
    """Tokens of our lexer whose colour is not that of their terminal."""
    found = []
    for token in lex(Source("x", text)):
        expected = NAMES if token.kind == "NAME" else {MADE["SCOPES"].get(token.kind)}
        span = range(token.span.start, token.span.end)
        seen = {scopes[at] for at in span if text[at] != "\n"}
        if token.kind not in ("NEWLINE", "END") and not (len(seen) == 1 and seen <= expected):
            found.append((token.kind, token.text, str(seen)))
        comment = token.span.start - len(token.gap.lstrip(" \t"))
        if token.gap.strip() and not scopes[comment].startswith("comment.line"):
            found.append(("COMMENT", token.gap, scopes[comment]))
    return found


@needs_node
@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_editors_and_the_lexer_agree(path: Path) -> None:
    """Each token of a recipe has the colour of its terminal, each comment that of a comment."""
    assert wrong(path.read_text("utf-8"), colours(path)) == []


@needs_node
def test_names_are_coloured_by_place(tmp_path: Path) -> None:
    """Also in a file with mistakes, and after a text of two lines."""
    path = tmp_path / "broken.tune"
    path.write_text(BROKEN, "utf-8")
    scopes = colours(path)
    assert wrong(BROKEN, scopes) == []
    expected = {
        "stage x": MADE["KIND"],
        "x: sft": MADE["DECLARED"],
        "sft {": MADE["TYPE"],
        "train =": MADE["FIELD"],
        "epochs,": MADE["NOUN"],
        "importer": MADE["FIELD"],
        "asleep": MADE["SCOPES"]["NAME"],
        "gate {": MADE["SECTION"],
        "b(c": MADE["CALLED"],
        "other.x": MADE["PARENT"],
        "## A page": MADE["DOCUMENTATION"],
        "# why": MADE["SCOPES"]["COMMENT"],
        "rank =": MADE["FIELD"],
        "stage in": MADE["SCOPES"]["TEXT"],
    }
    assert {part: scopes[BROKEN.index(part)] for part in expected} == expected
