"""A real client over stdio: a recipe is opened, broken, completed, mended, renamed, formatted."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

pytest.importorskip("pygls")

from lsprotocol import types
from pygls.exceptions import JsonRpcException
from pygls.lsp.client import LanguageClient

RECIPE = """tune 1
## Sixteen pairs.
model base = scratch(llama, tokenizer = ["pairs.jsonl"])
data pairs = files("pairs.jsonl", format = instruct, hold_out = 25%)

stage chat: sft {
  model = base
  data = pairs
  train = 2 epochs
  batch = 4 sequences
  packing = false
}
"""
ROWS = "".join(f'{{"prompt": "one and {n}", "reply": "{n + 1}"}}\n' for n in range(16))
PATIENCE = 30  # seconds for one answer on a busy machine


class Editor(LanguageClient):
    """A client that keeps the last diagnostics of a text."""

    def __init__(self, folder: Path) -> None:
        super().__init__("test", "1")
        self.uri = (folder / "r.tune").as_uri()
        self.found: asyncio.Queue[types.PublishDiagnosticsParams] = asyncio.Queue()
        self.version = 0

        @self.feature(types.TEXT_DOCUMENT_PUBLISH_DIAGNOSTICS)
        def published(params: types.PublishDiagnosticsParams) -> None:
            self.found.put_nowait(params)

    async def write(self, text: str) -> list[types.Diagnostic]:
        """The text as a whole, and what is found in it at once."""
        self.version += 1
        if self.version == 1:
            item = types.TextDocumentItem(self.uri, "tune", self.version, text)
            self.text_document_did_open(types.DidOpenTextDocumentParams(item))
        else:
            name = types.VersionedTextDocumentIdentifier(self.version, self.uri)
            change = [types.TextDocumentContentChangeWholeDocument(text)]
            self.text_document_did_change(types.DidChangeTextDocumentParams(name, change))
        return await self.next()

    async def next(self) -> list[types.Diagnostic]:
        """What is said next of the text as it is now; first at once, then of its plan."""
        while True:
            said = await asyncio.wait_for(self.found.get(), PATIENCE)
            if said.version == self.version:
                return list(said.diagnostics)

    @property
    def text(self) -> types.TextDocumentIdentifier:
        return types.TextDocumentIdentifier(self.uri)


def errors(found: list[types.Diagnostic]) -> set[str]:
    """The rules that are broken; what is only warned of may grow with the rules."""
    return {str(e.code) for e in found if e.severity == types.DiagnosticSeverity.Error}


def place(text: str, word: str, behind: bool = False) -> types.Position:
    """Where a word of a text stands, as editors count."""
    before = text[: text.index(word) + (len(word) if behind else 0)]
    line = before.rpartition("\n")[2]
    return types.Position(before.count("\n"), len(line.encode("utf-16-le")) // 2)


def applied(text: str, edits: list[types.TextEdit]) -> str:
    """The text after edits that do not overlap."""
    lines = text.splitlines(keepends=True)

    def offset(at: types.Position) -> int:
        line = lines[at.line] if at.line < len(lines) else ""
        column = len(line.encode("utf-16-le")[: at.character * 2].decode("utf-16-le"))
        return sum(map(len, lines[: at.line])) + column

    for edit in sorted(edits, key=lambda each: offset(each.range.start), reverse=True):
        start, end = offset(edit.range.start), offset(edit.range.end)
        text = text[:start] + edit.new_text + text[end:]
    return text


def drive(folder: Path, story: Callable[[Editor], Awaitable[None]]) -> None:
    """Start the server, tell a story, shut it down; it must leave with code 0."""

    async def run() -> None:
        (folder / "pairs.jsonl").write_text(ROWS)
        editor = Editor(folder)
        environment = {**os.environ, "TUNELANG_HOME": str(folder / "home")}
        await editor.start_io(sys.executable, "-m", "tunelang", "lsp", env=environment)
        utf8 = [types.PositionEncodingKind.Utf8, types.PositionEncodingKind.Utf16]
        general = types.GeneralClientCapabilities(position_encodings=utf8)
        known = types.ClientCapabilities(general=general)
        root = types.InitializeParams(known, process_id=os.getpid())
        answer = await asyncio.wait_for(editor.initialize_async(root), PATIENCE)
        assert answer.capabilities.position_encoding == types.PositionEncodingKind.Utf16
        editor.initialized(types.InitializedParams())
        await story(editor)
        await asyncio.wait_for(editor.shutdown_async(None), PATIENCE)
        editor.exit(None)
        process = editor._server
        assert process is not None
        assert await asyncio.wait_for(process.wait(), PATIENCE) == 0
        await editor.stop()

    asyncio.run(run())


def test_places_count_utf16_units(tmp_path: Path) -> None:
    """A character outside the basic plane is two units wide, whatever the editor prefers."""

    async def story(editor: Editor) -> None:
        text = RECIPE.replace("hold_out", 'written_by = "😀", hold_uot')
        (found,) = [e for e in await editor.write(text) if e.code == "unknown-field"]
        assert found.range.start == place(text, "hold_uot")
        shown = await editor.text_document_hover_async(
            types.HoverParams(editor.text, place(text, "written_by"))
        )
        assert shown and shown.range and shown.range.start == place(text, "written_by")

    drive(tmp_path, story)


def test_a_recipe_is_broken_and_mended(tmp_path: Path) -> None:
    """Diagnostics come while typing, and a code action mends what they blame."""

    async def story(editor: Editor) -> None:
        assert errors(await editor.write(RECIPE)) == set()
        broken = RECIPE.replace("packing = false", "packing = no").replace("batch =", "btach =")
        found = await editor.write(broken)
        assert errors(found) == {"truthy-word", "unknown-field"}
        (truthy,) = [each for each in found if each.code == "truthy-word"]
        assert truthy.range.start == place(broken, "no\n")
        context = types.CodeActionContext([truthy])
        params = types.CodeActionParams(editor.text, truthy.range, context)
        actions = await editor.text_document_code_action_async(params)
        assert [each.title.partition(":")[0] for each in actions or ()] == [
            "truthy-word",
            "apply the safe fix",
        ]
        assert actions and actions[0].edit and actions[0].edit.changes
        mended = applied(broken, list(actions[0].edit.changes[editor.uri]))
        found = await editor.write(mended)
        assert errors(found) == {"unknown-field"}

    drive(tmp_path, story)


def test_a_place_is_completed_and_explained(tmp_path: Path) -> None:
    """Completion in a half-written stage; hover and hints once a plan is there."""

    async def story(editor: Editor) -> None:
        half = RECIPE.replace("  packing = false\n}\n", "  weights = lo")
        await editor.write(half)
        at = place(half, "weights = lo", behind=True)
        listed = await editor.text_document_completion_async(
            types.CompletionParams(editor.text, at)
        )
        assert isinstance(listed, types.CompletionList)
        assert {each.label for each in listed.items} == {
            "full",
            "lora",
            "qlora",
            "layers",
            "experts",
        }
        await editor.write(RECIPE)
        await editor.next()  # the plan's findings
        shown = await editor.text_document_hover_async(
            types.HoverParams(editor.text, place(RECIPE, "train"))
        )
        assert shown and isinstance(shown.contents, types.MarkupContent)
        assert "here: `2 epochs` (stage chat, line 9)" in shown.contents.value
        whole = types.Range(types.Position(0, 0), types.Position(99, 0))
        hints = await editor.text_document_inlay_hint_async(
            types.InlayHintParams(editor.text, whole)
        )
        assert "= 6 steps" in [each.label for each in hints or ()]

    drive(tmp_path, story)


def test_texts_without_sense_are_answered(tmp_path: Path) -> None:
    """Half a surrogate pair, other line ends and signs of all kinds: the server goes on."""

    async def story(editor: Editor) -> None:
        for text in (
            "\ud800 = {",
            "a\rb\u2028c\x00\ufeff",
            "stage x: sft {\r\n  lr =",
            "{" * 300,
            "",
        ):
            await editor.write(text)
            at = types.Position(0, 1)
            name = editor.text
            await editor.text_document_completion_async(types.CompletionParams(name, at))
            await editor.text_document_hover_async(types.HoverParams(name, at))
            await editor.text_document_formatting_async(
                types.DocumentFormattingParams(name, types.FormattingOptions(2, True))
            )
            await editor.text_document_semantic_tokens_full_async(types.SemanticTokensParams(name))
            await editor.text_document_document_symbol_async(types.DocumentSymbolParams(name))
            await editor.text_document_folding_range_async(types.FoldingRangeParams(name))
        assert errors(await editor.write(RECIPE)) == set()

    drive(tmp_path, story)


def test_a_name_is_found_and_changed(tmp_path: Path) -> None:
    """Definition, references, rename, its refusal, and formatting."""

    async def story(editor: Editor) -> None:
        text = RECIPE.replace("  data = pairs", "    data=pairs")
        await editor.write(text)
        use = place(text, "data=pairs", behind=True)
        there = await editor.text_document_definition_async(
            types.DefinitionParams(editor.text, use)
        )
        assert isinstance(there, types.Location)
        assert there.range.start == place(text, "pairs = files")
        renaming = types.RenameParams(editor.text, use, "rows")
        made = await editor.text_document_rename_async(renaming)
        assert made and made.changes
        renamed = applied(text, list(made.changes[editor.uri]))
        assert "data rows = files" in renamed and "data=rows" in renamed
        with pytest.raises(JsonRpcException, match="declared already"):
            params = types.RenameParams(editor.text, use, "base")
            await editor.text_document_rename_async(params)
        assert errors(await editor.write(renamed)) == set()
        options = types.FormattingOptions(2, True)
        edits = await editor.text_document_formatting_async(
            types.DocumentFormattingParams(editor.text, options)
        )
        assert "\n  data = rows\n" in applied(renamed, list(edits or ()))
        colours = await editor.text_document_semantic_tokens_full_async(
            types.SemanticTokensParams(editor.text)
        )
        assert colours and len(colours.data) > 100 and len(colours.data) % 5 == 0

    drive(tmp_path, story)
