"""`tunelang lsp`: the protocol's requests, answered by the features beside this file."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, Protocol

from lsprotocol import types
from pygls.exceptions import JsonRpcInvalidParams
from pygls.lsp.server import LanguageServer
from pygls.protocol import LanguageServerProtocol, lsp_method

from tunelang import __version__
from tunelang.lsp import actions, convert, hints, navigate, outline, tokens
from tunelang.lsp.complete import complete
from tunelang.lsp.document import Document
from tunelang.lsp.hover import hover
from tunelang.lsp.session import Session
from tunelang.syntax.editions import migrated
from tunelang.syntax.format import format


class Utf16(LanguageServerProtocol):
    """Positions count UTF-16 units, which every editor must know, whatever else it prefers."""

    @lsp_method(types.INITIALIZE)
    def lsp_initialize(
        self, params: types.InitializeParams
    ) -> Generator[Any, Any, types.InitializeResult]:
        """Answer as pygls does, to an editor that says nothing of encodings."""
        if params.capabilities.general:
            params.capabilities.general.position_encodings = None
        return (yield from super().lsp_initialize(params))


# Whole texts: a recipe of 2,000 lines is 60 kB, and nobody's idea of a line end can differ.
SYNC = types.TextDocumentSyncKind.Full
server = LanguageServer("tunelang", __version__, text_document_sync_kind=SYNC, protocol_cls=Utf16)
session = Session(server)
TRIGGERS = [" ", ".", ":", "(", "[", "=", "{"]
LEGEND = types.SemanticTokensLegend(list(tokens.LEGEND), ["declaration"])
ACTIONS = types.CodeActionOptions(
    [types.CodeActionKind.QuickFix, types.CodeActionKind.SourceFixAll]
)


class Pointing(Protocol):
    """What every request about one place in a text carries."""

    text_document: types.TextDocumentIdentifier
    position: types.Position


def _at(params: Pointing) -> tuple[Document, int] | None:
    """The open recipe and the offset that a request speaks of."""
    document = session.open.get(params.text_document.uri)
    return (document, convert.offset(document.source, params.position)) if document else None


def _span(document: Document, where: types.Range) -> tuple[int, int]:
    source = document.source
    return convert.offset(source, where.start), convert.offset(source, where.end)


@server.feature(types.TEXT_DOCUMENT_DID_OPEN)
def opened(params: types.DidOpenTextDocumentParams) -> None:
    """Check a recipe that was opened."""
    text = params.text_document
    session.changed(text.uri, text.text, text.version)


@server.feature(types.TEXT_DOCUMENT_DID_CHANGE)
def changed(params: types.DidChangeTextDocumentParams) -> None:
    """Check it again: the last change holds the whole text."""
    last = params.content_changes[-1]
    session.changed(params.text_document.uri, last.text, params.text_document.version)


@server.feature(types.TEXT_DOCUMENT_DID_CLOSE)
def closed(params: types.DidCloseTextDocumentParams) -> None:
    """Forget it, and take back what was said of it."""
    session.closed(params.text_document.uri)


@server.feature(
    types.TEXT_DOCUMENT_COMPLETION, types.CompletionOptions(trigger_characters=TRIGGERS)
)
def completion(params: types.CompletionParams) -> types.CompletionList | None:
    """What fits where the cursor stands."""
    at = _at(params)
    found = complete(*at) if at else None
    return types.CompletionList(False, convert.completions(found)) if found else None


@server.feature(types.TEXT_DOCUMENT_HOVER)
def hovered(params: types.HoverParams) -> types.Hover | None:
    """What there is to say of a word."""
    at = _at(params)
    found = hover(*at) if at else None
    if found is None:
        return None
    text = types.MarkupContent(types.MarkupKind.Markdown, found.text)
    return types.Hover(text, convert.range_of(found.span))


@server.feature(types.TEXT_DOCUMENT_DEFINITION)
def definition(params: types.DefinitionParams) -> types.Location | None:
    """Where a name is declared."""
    at = _at(params)
    span = navigate.definition(*at) if at else None
    own = (at[0].source, params.text_document.uri) if at else None
    return convert.location(span, own) if span and own else None


@server.feature(types.TEXT_DOCUMENT_REFERENCES)
def references(params: types.ReferenceParams) -> list[types.Location]:
    """Where a name is used in this file."""
    at = _at(params)
    if at is None:
        return []
    spans = navigate.references(*at, declaration=params.context.include_declaration)
    return [types.Location(params.text_document.uri, convert.range_of(span)) for span in spans]


@server.feature(types.TEXT_DOCUMENT_DOCUMENT_HIGHLIGHT)
def highlights(params: types.DocumentHighlightParams) -> list[types.DocumentHighlight]:
    """The same places, marked in the text."""
    at = _at(params)
    spans = navigate.references(*at) if at else []
    return [types.DocumentHighlight(convert.range_of(span)) for span in spans]


@server.feature(types.TEXT_DOCUMENT_PREPARE_RENAME)
def prepare_rename(params: types.PrepareRenameParams) -> types.Range | None:
    """The word that a rename would change."""
    at = _at(params)
    span = navigate.renamable(*at) if at else None
    return convert.range_of(span) if span else None


@server.feature(types.TEXT_DOCUMENT_RENAME, types.RenameOptions(prepare_provider=True))
def rename(params: types.RenameParams) -> types.WorkspaceEdit | None:
    """The edits of a rename, or an error that says why not."""
    at = _at(params)
    if at is None:
        return None
    found = navigate.rename(*at, params.new_name)
    if isinstance(found, str):
        raise JsonRpcInvalidParams(found)
    return types.WorkspaceEdit({params.text_document.uri: convert.edits(found)})


@server.feature(types.TEXT_DOCUMENT_FORMATTING)
def formatting(params: types.DocumentFormattingParams) -> list[types.TextEdit]:
    """`tunelang fmt` as one edit."""
    document = session.open.get(params.text_document.uri)
    if document is None:
        return []
    source = document.source
    text = format(migrated(source))
    end = convert.position(source, len(source.text))
    whole = types.Range(types.Position(0, 0), end)
    return [types.TextEdit(whole, text)] if text != source.text else []


@server.feature(types.TEXT_DOCUMENT_CODE_ACTION, ACTIONS)
def code_actions(params: types.CodeActionParams) -> list[types.CodeAction]:
    """The fixes of what is found in a range, of the kinds that are asked for."""
    document = session.open.get(params.text_document.uri)
    if document is None:
        return []
    found = actions.actions(document, *_span(document, params.range))
    made = [_action(each, document, params.text_document.uri) for each in found]
    only = params.context.only
    return [each for each in made if not only or any(_within(each.kind, kind) for kind in only)]


def _within(kind: str | None, wanted: str) -> bool:
    """`source` asks for `source.fixAll` too."""
    return kind == wanted or str(kind).startswith(f"{wanted}.")


def _action(each: actions.Action, document: Document, uri: str) -> types.CodeAction:
    mends = [convert.diagnostic(each.mends, (document.source, uri))] if each.mends else None
    kind = types.CodeActionKind.QuickFix if mends else types.CodeActionKind.SourceFixAll
    return types.CodeAction(
        each.title,
        kind=kind,
        diagnostics=mends,
        is_preferred=each.safe and bool(mends),
        edit=types.WorkspaceEdit({uri: convert.edits(each.edits)}),
    )


@server.feature(types.TEXT_DOCUMENT_SEMANTIC_TOKENS_FULL, LEGEND)
def semantic_tokens(params: types.SemanticTokensParams) -> types.SemanticTokens:
    """The colours of the whole text."""
    document = session.open.get(params.text_document.uri)
    return types.SemanticTokens(convert.colours(tokens.colours(document)) if document else [])


@server.feature(types.TEXT_DOCUMENT_FOLDING_RANGE)
def folding(params: types.FoldingRangeParams) -> list[types.FoldingRange]:
    """What may be folded."""
    document = session.open.get(params.text_document.uri)
    comment, region = types.FoldingRangeKind.Comment, types.FoldingRangeKind.Region
    return [
        types.FoldingRange(each.first - 1, each.last - 1, kind=comment if each.comment else region)
        for each in (tokens.folds(document) if document else [])
    ]


@server.feature(types.TEXT_DOCUMENT_INLAY_HINT)
def inlay_hints(params: types.InlayHintParams) -> list[types.InlayHint]:
    """What the plan computed, in a range."""
    document = session.open.get(params.text_document.uri)
    if document is None:
        return []
    return [
        types.InlayHint(
            convert.position(document.source, each.offset),
            each.text,
            tooltip=each.tip or None,
            padding_left=True,
        )
        for each in hints.hints(document, *_span(document, params.range))
    ]


@server.feature(types.TEXT_DOCUMENT_DOCUMENT_SYMBOL)
def symbols(params: types.DocumentSymbolParams) -> list[types.DocumentSymbol]:
    """The outline."""
    document = session.open.get(params.text_document.uri)
    return [convert.symbol(each) for each in outline.outline(document)] if document else []
