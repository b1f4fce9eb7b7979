"""The open recipes: each is checked at once when it changes, and planned when typing pauses."""

from __future__ import annotations

import asyncio
import gc
from pathlib import Path

from lsprotocol import types
from pygls.lsp.server import LanguageServer
from pygls.uris import to_fs_path

from tunelang.lsp import convert
from tunelang.lsp.diagnostics import shown
from tunelang.lsp.document import Document, planned, read, unchecked
from tunelang.source import Source

PAUSE = 0.3  # seconds without a change before a recipe is planned; people type faster


class Session:
    """What is open. A plan is made in a thread, so that answers never wait for it."""

    def __init__(self, server: LanguageServer) -> None:
        self.server = server
        self.open: dict[str, Document] = {}
        self.planning: dict[str, asyncio.Task[None]] = {}

    def changed(self, uri: str, text: str, version: int | None) -> None:
        """A text was opened or edited."""
        path = Path(to_fs_path(uri) or uri)
        source = Source(str(path), text)
        self._stop(uri)
        try:
            document = read(source, path.parent, self.open.get(uri))
        except Exception as problem:  # a mistake of a rule must not cost what else is known
            self._log(f"not checked: {problem!r}")
            self._show(uri, unchecked(source, path.parent), version)
            return
        self._show(uri, document, version)
        self.planning[uri] = asyncio.get_running_loop().create_task(self._plan(uri, version))

    def closed(self, uri: str) -> None:
        self._stop(uri)
        if self.open.pop(uri, None):
            self._publish(uri, [], None)

    def _stop(self, uri: str) -> None:
        task = self.planning.pop(uri, None)
        if task:
            task.cancel()

    async def _plan(self, uri: str, version: int | None) -> None:
        await asyncio.sleep(PAUSE)
        document = self.open[uri]
        try:
            done = await asyncio.to_thread(planned, document)
        except Exception as problem:  # a plan that fails must not cost what else is known
            self._log(f"no plan: {problem!r}")
            return
        if self.open.get(uri) is document:
            self._show(uri, done, version)
            if done.plan is not document.plan:
                self._refresh()
        gc.collect()  # commands run without the collector; here a pause is the time for it

    def _log(self, text: str) -> None:
        message = types.LogMessageParams(types.MessageType.Error, text)
        self.server.window_log_message(message)

    def _refresh(self) -> None:
        """Ask for inlay hints again, which a new plan changed."""
        workspace = self.server.client_capabilities.workspace
        if workspace and workspace.inlay_hint and workspace.inlay_hint.refresh_support:
            self.server.workspace_inlay_hint_refresh(None)

    def _show(self, uri: str, document: Document, version: int | None) -> None:
        self.open[uri] = document
        own = (document.source, uri)
        found = [convert.diagnostic(each, own) for each in shown(document)]
        self._publish(uri, found, version)

    def _publish(self, uri: str, found: list[types.Diagnostic], version: int | None) -> None:
        params = types.PublishDiagnosticsParams(uri, found, version)
        self.server.text_document_publish_diagnostics(params)
