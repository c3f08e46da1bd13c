"""What stands under the cursor: its signature, its `##` comment, the tensor's shape, its cost."""

from __future__ import annotations

from lsprotocol import types as lsp

from resnetc.diagnostics import Span
from resnetc.lang import syntax as s
from resnetc.lang.bind import signature
from resnetc.lsp.analysis import Analysis, Place, Placed
from resnetc.lsp.docs import BUILTINS, doc_of
from resnetc.lsp.hints import told
from resnetc.lsp.positions import Positions
from resnetc.lsp.symbols import Kind, Symbol, signature_of


def hover(
    analysis: Analysis, rows: dict[Place, Placed], offset: int, positions: Positions
) -> lsp.Hover | None:
    """The card of the name at an offset; for a layer also what it does to the tensor."""
    found = analysis.index.at(offset)
    if found is None:
        return None
    parts = [*_described(found.symbol.meant), *_placed(analysis, rows, found.span)]
    if not parts:
        return None
    text = lsp.MarkupContent(lsp.MarkupKind.Markdown, "\n\n".join(parts))
    return lsp.Hover(text, positions.range(found.span))


def _described(symbol: Symbol) -> list[str]:
    if symbol.kind is Kind.BUILTIN:
        return [BUILTINS[symbol.name]] if symbol.name in BUILTINS else []
    if symbol.param is not None:
        code = f"{symbol.param.span.text}"
        return [_code(code), f"a parameter of `{symbol.owner}`"]
    if symbol.definition is not None:
        decl = symbol.definition.decl
        return [text for text in (_code(headline(symbol)), doc_of(decl)) if text]
    if symbol.kind is Kind.VALUE and symbol.span is not None:
        source = symbol.span.source
        return [_code(source.line_text(symbol.span.line).strip())]
    if symbol.kind is Kind.LABEL:
        return [f"`{symbol.name}`: a part of the names of parameters in `{symbol.owner}`"]
    return []


def headline(symbol: Symbol) -> str:
    """A declaration on one line: what a caller has to know."""
    assert symbol.definition is not None
    decl, kind = symbol.definition.decl, symbol.kind.value
    if isinstance(decl, s.Function):
        return f"{kind} {signature(decl)} -> {decl.returns.span.text}"
    if isinstance(decl, s.Callable):
        return f"{kind} {signature(decl)}"
    if isinstance(decl, s.Const | s.Ambient):
        return " ".join(decl.span.text.split())
    if isinstance(decl, s.Variant | s.SectionVariant):
        return f"{kind} {decl.name} = {' '.join(decl.derivation.span.text.split())}"
    return f"{kind} {decl.name}"


def stands_for(symbol: Symbol) -> str | None:
    """For an ambient or a derived network, the signature of what it stands for."""
    target = signature_of(symbol.definition)
    if target is None or target is symbol.definition or not isinstance(target.decl, s.Callable):
        return None
    return signature(target.decl)


def _placed(analysis: Analysis, rows: dict[Place, Placed], span: Span) -> list[str]:
    """What the layer does that a name belongs to, where the name is its label or callee."""
    for step in analysis.index.steps:
        core = step.core
        names = [core.name_span] if isinstance(core, s.Call) else []
        names += [step.label.span] if step.label is not None else []
        if any(name.start == span.start for name in names):
            row = rows.get((step.span.start, step.span.end))
            return [_cost(row), told(row).replace("\n", "  \n")] if row is not None else []
    return []


def _cost(row: Placed) -> str:
    facts = [f"**{row.shape}**"]
    if row.params:
        facts.append(f"{row.params:,} parameters")
    if row.macs:
        facts.append(f"{row.macs:,} MACs")
    return " · ".join(facts)


def _code(text: str) -> str:
    return f"```rnet\n{text}\n```"
