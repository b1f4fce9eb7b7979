"""The pages of the rules are their tests: wrong blocks are found, fixes mend, right ones pass."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from tunelang.diagnostic import Diagnostic, Severity
from tunelang.plan import findings
from tunelang.plan.lock import held
from tunelang.recipe import lock
from tunelang.rules import fixes
from tunelang.rules.pages import CHECKOUT, Page, pages
from tunelang.source import Source

ROOT = Path(__file__).parents[1]
GROUND = (CHECKOUT / "ground.tune").read_text()
FENCE = re.compile(r"^```(\w+)(?: name=(\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
EVERY = list(pages().values())
WORKING = [page for page in EVERY if not page.waits]
SAID = re.compile(r'"(T[LS]\d+)",\s*"([a-z0-9]+(?:-[a-z0-9]+)+)"')


@dataclass(frozen=True)
class Block:
    """A recipe of a page. One without an edition line stands below `ground.tune`."""

    text: str
    start: int

    @property
    def lines_above(self) -> int:
        return self.text[: self.start].count("\n")


def blocks(page: Page, heading: str) -> list[Block]:
    """The recipes below one heading of a page."""
    # Recipes hold lines of `## text` too, so only the two headings end a section.
    section = re.split(r"\n## (?:Wrong|Right)\n", page.text.partition(f"\n## {heading}\n")[2])[0]
    found = [
        text for language, name, text in FENCE.findall(section) if language == "tune" and not name
    ]
    return [
        Block(text, 0) if text.startswith("tune ") else Block(GROUND + text, len(GROUND))
        for text in found
    ]


def place(page: Page, folder: Path) -> None:
    """Write the files that the page names, for imports and data."""
    for _, name, text in FENCE.findall(page.text):
        if name:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)


@pytest.fixture(autouse=True)
def hub_of_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files that a page names below `hub/` are the hub's cache, and there is no other."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))


def found_in(block: Block, text: str, folder: Path) -> list[Diagnostic]:
    """What is found in the block itself, not in the ground it stands on."""
    path = folder / "recipe.tune"
    path.write_text(text)
    found = findings.of_every_profile(path).found
    if lock.path_of(path).exists():  # a page that brings one is checked as with --locked
        found = held(path, found)
    return [
        each
        for each in found
        if not each.at or each.at.span.source.name != str(path) or each.at.span.start >= block.start
    ]


def ids(page: Page) -> str:
    return page.name


@pytest.mark.parametrize("page", EVERY, ids=ids)
def test_page_is_whole(page: Page) -> None:
    """A page has a paragraph for people, a wrong recipe and a right one."""
    assert len(page.summary) > 30
    assert blocks(page, "Wrong") and blocks(page, "Right")


@pytest.mark.parametrize("page", WORKING, ids=ids)
def test_wrong_is_found(page: Page, tmp_path: Path) -> None:
    """Each wrong recipe has this finding and no other error."""
    place(page, tmp_path)
    for block in blocks(page, "Wrong"):
        found = found_in(block, block.text, tmp_path)
        own = [each for each in found if each.name == page.name]
        assert own, [each.message for each in found]
        assert {(each.code, each.severity) for each in own} == {(page.code, page.severity)}
        others = [each for each in found if each.name != page.name]
        assert not [each.message for each in others if each.severity is Severity.ERROR]


@pytest.mark.parametrize("page", WORKING, ids=ids)
def test_right_is_clean(page: Page, tmp_path: Path) -> None:
    """Right recipes have neither this finding nor any error or warning."""
    place(page, tmp_path)
    for block in blocks(page, "Right"):
        found = found_in(block, block.text, tmp_path)
        assert not [
            e.message for e in found if e.name == page.name or e.severity is not Severity.HINT
        ]


@pytest.mark.parametrize("page", [page for page in WORKING if page.fix != "no"], ids=ids)
def test_fix_mends(page: Page, tmp_path: Path) -> None:
    """After the fix the finding is gone; a safe fix leaves every stage key as it was."""
    place(page, tmp_path)
    for block in blocks(page, "Wrong"):
        own = [each for each in found_in(block, block.text, tmp_path) if each.name == page.name]
        offered = [each.fix for each in own if each.fix]
        assert offered, "no fix was offered"
        assert {fix.safe for fix in offered} == {page.fix == "safe"}
        before = keys(tmp_path)
        text, count = fixes.apply(offered[0].edits[0].span.source, offered)
        assert count
        after = [each.name for each in found_in(block, text, tmp_path)]
        assert page.name not in after
        if page.fix == "safe" and before:
            assert keys(tmp_path) == before


def keys(folder: Path) -> list[str]:
    """The stage keys of the recipe that was written last."""
    plan = findings.of_file(folder / "recipe.tune").plan
    return [step.key for step in plan.steps] if plan else []


@pytest.mark.parametrize("page", [page for page in EVERY if page.waits], ids=ids)
def test_waiting_pages_still_wait(page: Page, tmp_path: Path) -> None:
    """A page that waits is not found yet; when it is, the wait is over and the page says so."""
    place(page, tmp_path)
    for block in blocks(page, "Wrong"):
        found = found_in(block, block.text, tmp_path)
        assert page.name not in {each.name for each in found}


def test_every_finding_has_a_page() -> None:
    """Each rule of a page that does not wait is somewhere in the code."""
    said = {
        pair
        for path in (ROOT / "tunelang").rglob("*.py")
        for pair in SAID.findall(path.read_text())
    }
    written = {(page.code, page.name) for page in WORKING}
    assert written <= said  # and the reverse when the last page is written


def test_source_is_used() -> None:
    """Fixes of other sources are left alone."""
    assert fixes.apply(Source("a", "text"), []) == ("text", 0)


def test_a_code_has_one_name() -> None:
    """Two rules with one code could not be told apart where only codes are written."""
    names: dict[str, set[str]] = {}
    for page in EVERY:
        names.setdefault(page.code, set()).add(page.name)
    for path in (ROOT / "tunelang").rglob("*.py"):
        for code, name in SAID.findall(path.read_text()):
            names.setdefault(code, set()).add(name)
    assert not {code: both for code, both in names.items() if len(both) > 1}
