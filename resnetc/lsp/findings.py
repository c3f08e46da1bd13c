"""Findings as the editor shows them, and what their advice can change at once."""

from __future__ import annotations

from lsprotocol import types as lsp

from resnetc.diagnostics import Diagnostic, Edit, Span
from resnetc.lsp.analysis import Analysis
from resnetc.lsp.positions import Positions

MAX_SHOWN = 100


def diagnostics(analysis: Analysis, positions: Positions) -> list[lsp.Diagnostic]:
    """All findings of a file. One whose place is in another file stands at its import."""
    found = analysis.findings[:MAX_SHOWN]
    return [_diagnostic(analysis, finding, positions) for finding in found]


def actions(
    analysis: Analysis, span: Span, shown: list[lsp.Diagnostic], positions: Positions
) -> list[lsp.CodeAction]:
    """What the advice of the findings in a span would change."""
    offered = []
    for finding in analysis.findings[:MAX_SHOWN]:
        if finding.help is None or not finding.help.edits:
            continue
        where = _place(analysis, finding)
        if where.start > span.end or where.end < span.start:
            continue
        diagnostic = _diagnostic(analysis, finding, positions)
        offered.append(
            lsp.CodeAction(
                title=finding.help.text,
                kind=lsp.CodeActionKind.QuickFix,
                diagnostics=[d for d in shown if _same(d, diagnostic)] or [diagnostic],
                edit=workspace_edit(finding.help.edits, positions),
                is_preferred=finding.help.sure,
            )
        )
    return offered


def workspace_edit(edits: tuple[Edit, ...] | list[Edit], positions: Positions) -> lsp.WorkspaceEdit:
    """Edits of any number of files, as one change."""
    changes: dict[str, list[lsp.TextEdit]] = {}
    for edit in edits:
        change = lsp.TextEdit(positions.range(edit.span), edit.replacement)
        changes.setdefault(positions.uri(edit.span.source.name), []).append(change)
    return lsp.WorkspaceEdit(changes=changes)


def _same(one: lsp.Diagnostic, other: lsp.Diagnostic) -> bool:
    return (one.code, one.range) == (other.code, other.range)


def _diagnostic(analysis: Analysis, finding: Diagnostic, positions: Positions) -> lsp.Diagnostic:
    where = _place(analysis, finding)
    labels = finding.secondary
    if where != finding.primary.span:
        labels = (finding.primary, *(label for label in labels if label.span != where))
    severity = lsp.DiagnosticSeverity.Error
    if finding.severity == "warning":
        severity = lsp.DiagnosticSeverity.Warning
    return lsp.Diagnostic(
        range=positions.range(where),
        severity=severity,
        code=finding.code,
        source="resnetc",
        message=_message(finding),
        related_information=[
            lsp.DiagnosticRelatedInformation(
                lsp.Location(positions.uri(label.span.source.name), positions.range(label.span)),
                label.text or "here",
            )
            for label in labels
        ],
    )


def _message(finding: Diagnostic) -> str:
    lines = [finding.message]
    if finding.primary.text:
        lines.append(finding.primary.text)
    if finding.instance is not None:
        lines.append(str(finding.instance))
    lines += [f"note: {note}" for note in finding.notes]
    if finding.help is not None:
        lines.append(f"help: {finding.help.text}")
    return "\n".join(lines)


def _place(analysis: Analysis, finding: Diagnostic) -> Span:
    """Where a finding is shown in this file: where it says so, else at the import it comes by."""
    span = finding.primary.span
    for label in (finding.primary, *finding.secondary):
        if label.span.source.name == analysis.source.name:
            return label.span
    for use in analysis.module.file.uses:
        names = (analysis.module.names.get(name.alias) for name in use.names)
        homes = {str(found.home.path.resolve()) for found in names if found is not None}
        if span.source.name in homes:
            return use.module_span
    first = analysis.module.file.uses[0].module_span if analysis.module.file.uses else None
    return first or Span(analysis.source, 0, 0)
