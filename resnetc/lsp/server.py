"""`resnetc lsp`: the protocol over standard input and output.

All that computes runs in one worker thread, in order, so that the loop stays free to see that a
newer text has come. A text is checked when the typing has paused.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import traceback
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from lsprotocol import types as lsp
from pygls.exceptions import JsonRpcException
from pygls.lsp.server import LanguageServer
from pygls.protocol import json_rpc
from pygls.uris import to_fs_path

from resnetc.diagnostics import Span, UsageError
from resnetc.lsp import completion, findings, formatting, hints, hover, navigation, rename, tokens
from resnetc.lsp.analysis import Analysis
from resnetc.lsp.positions import Positions
from resnetc.lsp.workspace import Workspace
from resnetc.version import __version__

DEBOUNCE = 0.15
"""Seconds without a keystroke after which a text is checked."""
PATIENCE = 1.5
"""Seconds after which the networks that were left out for quickness are checked too."""
_REQUEST_FAILED = -32803
T = TypeVar("T")


class Server(LanguageServer):
    """A session with one editor."""

    def __init__(self) -> None:
        super().__init__("resnetc", __version__, lsp.TextDocumentSyncKind.Full)
        self.files = Workspace()
        self.positions = Positions()
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="resnetc")
        self._waiting: dict[Path, asyncio.Task[None]] = {}

    def begin(self, params: lsp.InitializeParams) -> None:
        """Take the folders and the encoding that were agreed on."""
        folders = [folder.uri for folder in params.workspace_folders or ()]
        if not folders and params.root_uri:
            folders = [params.root_uri]
        paths = [path for uri in folders if (path := to_fs_path(uri))]
        self.files = Workspace(Path(path) for path in paths)
        encoding = self.workspace.position_encoding
        if encoding is not None:
            self.positions = Positions(lsp.PositionEncodingKind(encoding))

    def path(self, uri: str) -> Path:
        """The file that a client's address means; one that was never saved gets a name too."""
        known = to_fs_path(uri) if uri.startswith("file:") else None
        path = Path(known) if known else Path.cwd() / (uri.rpartition("/")[2].rpartition(":")[2])
        path = path.resolve()
        self.positions.uris[path] = uri
        return path

    async def run(self, work: Callable[..., T], *args: Any) -> T:
        """Do some work in the worker thread, after all that was asked before."""
        return await asyncio.get_running_loop().run_in_executor(self._worker, work, *args)

    async def analysis(self, uri: str) -> Analysis:
        """The analysis of a document as it is now."""
        return await self.run(self.files.analysis, self.path(uri))

    # ---- checking

    def schedule(self, path: Path, delay: float) -> None:
        """Check a file, and the open ones that import it, after a pause."""
        waiting = self._waiting.pop(path, None)
        if waiting is not None:
            waiting.cancel()
        self._waiting[path] = asyncio.get_running_loop().create_task(self._check(path, delay))

    async def _check(self, path: Path, delay: float) -> None:
        try:
            await asyncio.sleep(delay)
            affected = await self.run(self.files.affected, path)
            for file in affected:
                self.publish(file, await self.run(self._diagnostics, file))
            await asyncio.sleep(PATIENCE)
            for file in affected:
                if await self.run(self.files.complete, file):
                    self.publish(file, await self.run(self._diagnostics, file))
                    self._refresh_hints()
        except Exception:  # the session outlives a bug of ours
            text = traceback.format_exc()
            self.window_log_message(lsp.LogMessageParams(lsp.MessageType.Error, text))

    def _diagnostics(self, path: Path) -> list[lsp.Diagnostic]:
        return findings.diagnostics(self.files.analysis(path), self.positions)

    def publish(self, path: Path, found: list[lsp.Diagnostic]) -> None:
        """Show these findings in a file, instead of all before."""
        shown = lsp.PublishDiagnosticsParams(self.positions.uri(path), found)
        self.text_document_publish_diagnostics(shown)

    def _refresh_hints(self) -> None:
        """Have the client ask for the hints again, if it can."""
        can = self.client_capabilities.workspace
        if can is not None and can.inlay_hint is not None and can.inlay_hint.refresh_support:
            self.workspace_inlay_hint_refresh(None)

    def forget(self, path: Path) -> None:
        """A file is no longer open: its findings go."""
        waiting = self._waiting.pop(path, None)
        if waiting is not None:
            waiting.cancel()
        self.files.close(path)
        self.publish(path, [])

    # ---- answers

    async def at(self, params: Any) -> tuple[Analysis, int]:
        """The document and the offset that a request is about."""
        analysis = await self.analysis(params.text_document.uri)
        return analysis, self.positions.offset(analysis.source, params.position)

    def locations(self, spans: Iterable[Span]) -> list[lsp.Location]:
        return [navigation.location(span, self.positions) for span in spans]


def make_server() -> Server:
    """A server with every feature."""
    server = Server()
    _documents(server)
    _reading(server)
    _changing(server)
    return server


def serve() -> None:
    """Talk to an editor until it says that it is done."""
    logging.getLogger(json_rpc.__name__).addFilter(_is_a_failure)
    make_server().start_io()


def _documents(server: Server) -> None:
    """The life of a document."""

    @server.feature(lsp.INITIALIZE)
    def initialize(params: lsp.InitializeParams) -> None:
        server.begin(params)

    @server.feature(lsp.TEXT_DOCUMENT_DID_OPEN)
    async def opened(params: lsp.DidOpenTextDocumentParams) -> None:
        path = server.path(params.text_document.uri)
        server.files.update(path, params.text_document.text)
        server.schedule(path, 0)

    @server.feature(lsp.TEXT_DOCUMENT_DID_CHANGE)
    async def changed(params: lsp.DidChangeTextDocumentParams) -> None:
        path = server.path(params.text_document.uri)
        server.files.update(path, params.content_changes[-1].text)
        server.schedule(path, DEBOUNCE)

    @server.feature(lsp.TEXT_DOCUMENT_DID_CLOSE)
    async def closed(params: lsp.DidCloseTextDocumentParams) -> None:
        server.forget(server.path(params.text_document.uri))

    @server.feature(lsp.WORKSPACE_DID_CHANGE_WATCHED_FILES)
    async def on_disk(params: lsp.DidChangeWatchedFilesParams) -> None:
        server.files.files_changed()
        for path in server.files.documents.paths:
            server.schedule(path, DEBOUNCE)


def _reading(server: Server) -> None:
    """What only reads."""

    @server.feature(lsp.TEXT_DOCUMENT_INLAY_HINT)
    async def inlay_hints(params: lsp.InlayHintParams) -> list[lsp.InlayHint]:
        analysis = await server.analysis(params.text_document.uri)
        rows = await server.run(server.files.rows, analysis.path)
        return await server.run(hints.hints, analysis, rows, params.range, server.positions)

    @server.feature(lsp.TEXT_DOCUMENT_HOVER)
    async def card(params: lsp.HoverParams) -> lsp.Hover | None:
        analysis, offset = await server.at(params)
        rows = await server.run(server.files.rows, analysis.path)
        return await server.run(hover.hover, analysis, rows, offset, server.positions)

    @server.feature(lsp.TEXT_DOCUMENT_DEFINITION)
    async def definition(params: lsp.DefinitionParams) -> lsp.Location | None:
        analysis, offset = await server.at(params)
        return await server.run(navigation.definition, analysis, offset, server.positions)

    @server.feature(lsp.TEXT_DOCUMENT_REFERENCES)
    async def references(params: lsp.ReferenceParams) -> list[lsp.Location]:
        analysis, offset = await server.at(params)
        declaration = params.context.include_declaration
        spans = await server.run(navigation.references, server.files, analysis, offset, declaration)
        return server.locations(spans)

    @server.feature(lsp.TEXT_DOCUMENT_DOCUMENT_SYMBOL)
    async def symbols(params: lsp.DocumentSymbolParams) -> list[lsp.DocumentSymbol]:
        analysis = await server.analysis(params.text_document.uri)
        return await server.run(navigation.symbols, analysis, server.positions)

    @server.feature(lsp.TEXT_DOCUMENT_FOLDING_RANGE)
    async def folds(params: lsp.FoldingRangeParams) -> list[lsp.FoldingRange]:
        analysis = await server.analysis(params.text_document.uri)
        return await server.run(navigation.folds, analysis)

    @server.feature(lsp.TEXT_DOCUMENT_SEMANTIC_TOKENS_FULL, tokens.LEGEND)
    async def semantic_tokens(params: lsp.SemanticTokensParams) -> lsp.SemanticTokens:
        analysis = await server.analysis(params.text_document.uri)
        return await server.run(tokens.semantic_tokens, analysis, server.positions)

    @server.feature(
        lsp.TEXT_DOCUMENT_SIGNATURE_HELP, lsp.SignatureHelpOptions(trigger_characters=["(", ","])
    )
    async def signature(params: lsp.SignatureHelpParams) -> lsp.SignatureHelp | None:
        analysis, offset = await server.at(params)
        return await server.run(completion.signature_help, analysis, offset)


def _changing(server: Server) -> None:
    """What offers changes of the text."""

    @server.feature(
        lsp.TEXT_DOCUMENT_COMPLETION,
        lsp.CompletionOptions(trigger_characters=[".", "(", ",", "=", '"', "{"]),
    )
    async def complete(params: lsp.CompletionParams) -> list[lsp.CompletionItem]:
        analysis, offset = await server.at(params)
        return await server.run(completion.complete, analysis, server.files.documents, offset)

    @server.feature(lsp.TEXT_DOCUMENT_FORMATTING)
    async def whole(params: lsp.DocumentFormattingParams) -> list[lsp.TextEdit]:
        analysis = await server.analysis(params.text_document.uri)
        return await server.run(formatting.format_edits, analysis.source, server.positions)

    @server.feature(lsp.TEXT_DOCUMENT_RANGE_FORMATTING)
    async def part(params: lsp.DocumentRangeFormattingParams) -> list[lsp.TextEdit]:
        source = (await server.analysis(params.text_document.uri)).source
        work = formatting.format_edits
        return await server.run(work, source, server.positions, params.range)

    @server.feature(
        lsp.TEXT_DOCUMENT_CODE_ACTION,
        lsp.CodeActionOptions(code_action_kinds=[lsp.CodeActionKind.QuickFix]),
    )
    async def actions(params: lsp.CodeActionParams) -> list[lsp.CodeAction]:
        analysis = await server.analysis(params.text_document.uri)
        offset = server.positions.offset
        start, end = (offset(analysis.source, p) for p in (params.range.start, params.range.end))
        span, shown = Span(analysis.source, start, end), params.context.diagnostics
        return await server.run(findings.actions, analysis, span, shown, server.positions)

    @server.feature(lsp.TEXT_DOCUMENT_PREPARE_RENAME)
    async def prepare(params: lsp.PrepareRenameParams) -> lsp.Range:
        analysis, offset = await server.at(params)
        with _refusals():
            found = await server.run(rename.prepare, server.files, analysis, offset)
        return server.positions.range(rename.covered(found))

    @server.feature(lsp.TEXT_DOCUMENT_RENAME, lsp.RenameOptions(prepare_provider=True))
    async def renamed(params: lsp.RenameParams) -> lsp.WorkspaceEdit:
        analysis, offset = await server.at(params)
        with _refusals():
            edits = await server.run(rename.rename, server.files, analysis, offset, params.new_name)
        return findings.workspace_edit(edits, server.positions)


class _Refusal(JsonRpcException):
    """A request that is refused for a reason that the user is told."""


def _is_a_failure(record: logging.LogRecord) -> bool:
    """Whether a message of the protocol's log speaks of more than a refusal, which is an answer."""
    return record.exc_info is None or not isinstance(record.exc_info[1], _Refusal)


@contextlib.contextmanager
def _refusals() -> Iterator[None]:
    """Turns a refusal into the protocol's error, whose message the editor shows."""
    try:
        yield
    except UsageError as error:
        raise _Refusal(str(error), _REQUEST_FAILED) from None
