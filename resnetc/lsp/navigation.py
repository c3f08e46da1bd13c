"""Where a name comes from, where it is used, and what a file holds."""

from __future__ import annotations

from collections.abc import Iterable

from lsprotocol import types as lsp

from resnetc.diagnostics import Span
from resnetc.lang import syntax as s
from resnetc.lang.modules import Definition
from resnetc.lsp.analysis import Analysis
from resnetc.lsp.hints import bodies
from resnetc.lsp.indexer import children
from resnetc.lsp.positions import Positions
from resnetc.lsp.symbols import Kind, Occurrence, Symbol, declared
from resnetc.lsp.workspace import Workspace

_SYMBOL_KINDS = {
    s.Network: lsp.SymbolKind.Class,
    s.Variant: lsp.SymbolKind.Class,
    s.Block: lsp.SymbolKind.Function,
    s.Primitive: lsp.SymbolKind.Function,
    s.Shortcut: lsp.SymbolKind.Interface,
    s.Function: lsp.SymbolKind.Function,
    s.Const: lsp.SymbolKind.Constant,
    s.Ambient: lsp.SymbolKind.Variable,
}


def definition(analysis: Analysis, offset: int, positions: Positions) -> lsp.Location | None:
    """Where the name at an offset is declared; a module's file for the name of a module."""
    found = analysis.index.at(offset)
    if found is not None and found.symbol.meant.span is not None:
        return location(found.symbol.meant.span, positions)
    for use in analysis.module.file.uses:
        if use.module_span.start <= offset <= use.module_span.end:
            return _module(analysis, use, positions)
    return None


def _module(analysis: Analysis, use: s.Use, positions: Positions) -> lsp.Location | None:
    names = (analysis.module.names.get(name.alias) for name in use.names)
    home = next((found.home for found in names if found is not None), None)
    if home is None:
        return None
    return location(Span(home.file.source, 0, 0), positions)


def location(span: Span, positions: Positions) -> lsp.Location:
    """A span as the editor's place in a file."""
    return lsp.Location(positions.uri(span.source.name), positions.range(span))


def references(
    workspace: Workspace, analysis: Analysis, offset: int, declaration: bool
) -> list[Span]:
    """Every place of the name at an offset, in all files that may use it; with `declaration`
    also where it is given."""
    found = analysis.index.at(offset)
    if found is None or found.symbol.kind is Kind.BUILTIN:
        return []
    symbol = found.symbol.meant
    places = occurrences(workspace, symbol)
    return [o.span for o in places if declaration or not o.defines]


def occurrences(workspace: Workspace, symbol: Symbol) -> list[Occurrence]:
    """Every place in the project where a symbol is written, under whichever name."""
    assert symbol.path is not None
    home = workspace.analysis(symbol.path)
    found = _in_file(home, symbol)
    if symbol.kind in (Kind.VALUE, Kind.LABEL, Kind.ALIAS):
        return found
    for importer in workspace.importers(symbol.path):
        found += _in_file(workspace.analysis(importer), symbol)
    return found


def _in_file(analysis: Analysis, symbol: Symbol) -> list[Occurrence]:
    return [o for o in analysis.index.occurrences if symbol in (o.symbol, o.symbol.target)]


def symbols(analysis: Analysis, positions: Positions) -> list[lsp.DocumentSymbol]:
    """The declarations of a file, with the labelled layers of each."""
    return [_declaration(analysis, decl, positions) for decl in analysis.module.file.decls]


def _declaration(analysis: Analysis, decl: s.Decl, positions: Positions) -> lsp.DocumentSymbol:
    kind = _SYMBOL_KINDS.get(type(decl), lsp.SymbolKind.Namespace)
    return lsp.DocumentSymbol(
        name=decl.name,
        detail=declared(Definition(analysis.module, decl)).kind.value,
        kind=kind,
        range=positions.range(decl.span),
        selection_range=positions.range(decl.name_span),
        children=_labels(children(decl), positions),
    )


def _labels(nodes: Iterable[object], positions: Positions) -> list[lsp.DocumentSymbol]:
    """The labelled steps below some nodes, each with those below it."""
    found: list[lsp.DocumentSymbol] = []
    for node in nodes:
        below = _labels(children(node), positions)
        if isinstance(node, s.Step) and node.label is not None:
            callee = node.core.name if isinstance(node.core, s.Call) else node.core.span.text
            found.append(
                lsp.DocumentSymbol(
                    name=node.label.span.text.strip('"'),
                    detail=callee,
                    kind=lsp.SymbolKind.Field,
                    range=positions.range(node.span),
                    selection_range=positions.range(node.label.span),
                    children=below,
                )
            )
        else:
            found += below
    return found


def folds(analysis: Analysis) -> list[lsp.FoldingRange]:
    """Every pair of braces over several lines."""
    source = analysis.source
    found = []
    for body in bodies(analysis.module.file):
        start, _ = source.position(body.span.start)
        end, _ = source.position(body.span.end)
        if end - 1 > start:
            found.append(lsp.FoldingRange(start - 1, end - 2))
    return found
