"""The labels that a deployment names, held against the network that is exported."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from resnetc.diagnostics import Diagnostic, Help, Label
from resnetc.ir import Graph
from resnetc.ir.outputs import NoSuchOutputError, find_output, with_outputs
from resnetc.lang.sections import LabelAt
from resnetc.passes.inference import lower_for_inference
from resnetc.passes.placement import NoSuchLabelError, under


def mislabelled(graph: Graph, labels: Iterable[LabelAt]) -> list[Diagnostic]:
    """A finding for each label, of a graph of stage SOURCE, that leads to no value or to no layer.

    What is kept wide is looked for in the network as it is exported: up to its outputs, and with
    its batch norms folded into the layers before them; in all of it where an output is not known.
    """
    outputs = [at for at in labels if at.key == "outputs"]
    keep = [at for at in labels if at.key != "outputs"]
    findings = _without_value(graph, outputs)
    if not keep:
        return findings
    known = outputs and not findings
    cut = with_outputs(graph, [at.label for at in outputs]) if known else graph
    return findings + _without_layer(graph, lower_for_inference(cut).graph, keep)


def _without_value(graph: Graph, outputs: Sequence[LabelAt]) -> list[Diagnostic]:
    findings = []
    for at in outputs:
        try:
            find_output(graph, at.label)
        except NoSuchOutputError as error:
            secondary = () if error.placed is None else (Label(error.placed, "this one"),)
            advice = _meant(at, error.close)
            findings.append(Diagnostic("E0419", str(error), Label(at.span), secondary, (), advice))
    return findings


def _without_layer(graph: Graph, exported: Graph, keep: Sequence[LabelAt]) -> list[Diagnostic]:
    findings = []
    for at in keep:
        try:
            under(exported, [at.label])
        except NoSuchLabelError as error:
            gone = [node.span for node in graph if node.name == at.label and node.span is not None]
            secondary = tuple(Label(span, "not exported as a layer") for span in gone[:1])
            message = f"{graph.name} has no layer or block `{at.label}` to keep wide"
            advice = _meant(at, error.close)
            findings.append(Diagnostic("E0420", message, Label(at.span), secondary, (), advice))
    return findings


def _meant(at: LabelAt, close: str | None) -> Help | None:
    """The label that was meant, as an edit where the label itself is written."""
    if close is None:
        return None
    said = f'did you mean "{close}"?'
    return Help(said, at.span, f'"{close}"') if at.span.text == f'"{at.label}"' else Help(said)
