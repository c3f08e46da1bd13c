"""Proves what a network expects of itself on its compiled graph, and explains what fails."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise

from resnetc.analysis.cost import node_counts, owned_parameters
from resnetc.analysis.depth import depth, depths
from resnetc.analysis.field import fields, last_map_field
from resnetc.analysis.matching import not_taking
from resnetc.analysis.memory import inference_bytes, training_bytes
from resnetc.diagnostics import Diagnostic, Help, Label, UsageError
from resnetc.ir import Graph, Node, NodeId
from resnetc.lang.expectations import KEYS, RELATIONS, Expectation, Kind
from resnetc.lang.values import show
from resnetc.shapes import Size


def unmet(graph: Graph, expectations: Iterable[Expectation]) -> list[Diagnostic]:
    """A finding for each expectation that does not hold."""
    found = (_CHECKS[KEYS[e.claim.name]](graph, e) for e in expectations)
    return [finding for finding in found if finding is not None]


def _finding(
    expectation: Expectation, message: str, *notes: str, help: Help | None = None
) -> Diagnostic:
    return Diagnostic("E0501", message, Label(expectation.claim.value.span), (), notes, help)


# ------------------------------------------------------------------------------------- numbers


@dataclass(frozen=True)
class _Figure:
    """A number that a network has: a sentence with a gap for it, and how it is found."""

    says: str
    of: Callable[[Graph], int]
    note: Callable[[Graph], str]


Amounts = Callable[[Graph], Mapping[NodeId, int]]


def _sum(says: str, amounts: Amounts) -> _Figure:
    return _Figure(
        says,
        lambda graph: sum(amounts(graph).values()),
        lambda graph: f"by label: {_by_label(graph, amounts(graph), sum)}",
    )


def _peak(says: str, amounts: Amounts) -> _Figure:
    return _Figure(
        says,
        lambda graph: max(amounts(graph).values()),
        lambda graph: f"the peak inside each label: {_by_label(graph, amounts(graph), max)}",
    )


def _by_label(
    graph: Graph, amounts: Mapping[NodeId, int], joined: Callable[[list[int]], int]
) -> str:
    parts = defaultdict(list)
    for node in graph:
        if amounts[node.id]:
            parts[_label(node)].append(amounts[node.id])
    return " · ".join(f"{label} {joined(found):,}" for label, found in parts.items())


def _label(node: Node) -> str:
    return node.name.split(".")[0]


def _after_labels(what: str, values: Mapping[NodeId, object], graph: Graph) -> str:
    """The values where a label ends, without those that add nothing to what was before."""
    after = {_label(node): values[node.id] for node in graph if node.op.name != "input"}
    steps = pairwise([("", None), *after.items()])
    grown = [f"{label} {value}" for (_, before), (label, value) in steps if value != before]
    return f"{what}: {' · '.join(grown)}"


def _counts(field: str) -> Amounts:
    return lambda graph: {i: getattr(found, field) for i, found in node_counts(graph).items()}


def _held(*, trainable: bool) -> Amounts:
    """Numbers in parameters or buffers by node, without the rest of the cost, which takes long."""
    return lambda graph: {
        node.id: sum(p.type.elements for p in owned if p.role.trainable is trainable)
        for node, owned in owned_parameters(graph)
    }


_FIGURES: Mapping[str, _Figure] = {
    "params": _sum("has {} parameters", _held(trainable=True)),
    "buffers": _sum("has {} numbers in buffers", _held(trainable=False)),
    "macs": _sum("has {} multiply-accumulates", _counts("macs")),
    "flops": _sum("has {} floating-point operations", _counts("flops")),
    "activations": _sum("writes {} elements", _counts("activations")),
    "memory": _peak("needs {} bytes for the activations of one sample", inference_bytes),
    "training_memory": _peak(
        "needs {} bytes for activations and gradients of one sample", training_bytes
    ),
    "depth": _Figure(
        "is {} weighted layers deep",
        depth,
        lambda graph: _after_labels("layers at the end of", depths(graph), graph),
    ),
}


def _check_count(graph: Graph, expectation: Expectation) -> Diagnostic | None:
    figure, value = _FIGURES[expectation.claim.name], expectation.value
    assert isinstance(value, int | float)
    in_words, holds = RELATIONS[expectation.claim.relation]
    found = figure.of(graph)
    if holds(found, value):
        return None
    says = figure.says.format(f"{found:,}")
    message = f"{expectation.network} {says}; the file expects {in_words}{_grouped(value)}"
    return _finding(expectation, message, figure.note(graph), help=_difference(expectation, found))


def _grouped(value: float) -> str:
    return f"{int(value):,}" if value == int(value) else f"{value:,}"


def _difference(expectation: Expectation, found: int) -> Help | None:
    value = expectation.value
    assert isinstance(value, int | float)
    span = expectation.claim.value.span
    if found == value:
        return None
    if expectation.claim.relation != "=":
        beyond = _grouped(abs(found - value))
        return Help(f"that is {beyond} too {'many' if found > value else 'few'}")
    transposed = sorted(str(found)) == sorted(str(value))
    doubt = ": are two digits transposed?" if transposed else ""
    text = f"the difference is {found - value:+,}{doubt}"
    return Help(text, span, f"{found:_}", sure=False)  # the network may be what is wrong


# ------------------------------------------------------------------------------ sizes and shapes


def _check_field(graph: Graph, expectation: Expectation) -> Diagnostic | None:
    value = expectation.value
    wanted = value if isinstance(value, tuple) else (value, value)
    in_words, holds = RELATIONS[expectation.claim.relation]
    found = last_map_field(graph).size
    if all(map(holds, found, wanted)):
        return None
    message = (
        f"the last map of {expectation.network} sees {_size(found)} pixels; "
        f"the file expects {in_words}{_size(wanted)}"
    )
    seen = {node_id: _size(field.size) for node_id, field in fields(graph).items()}
    return _finding(expectation, message, _after_labels("seen at the end of", seen, graph))


def _size(size: Size) -> str:
    return f"{size[0]}x{size[1]}"


def _check_output(graph: Graph, expectation: Expectation) -> Diagnostic | None:
    value = expectation.value
    wanted = tuple(value) if isinstance(value, tuple | list) else (value,)
    found = graph[next(iter(graph.outputs.values()))].type
    if found.shape == wanted:
        return None
    shown = "x".join(map(show, wanted))
    message = f"{expectation.network} gives {found}; the file expects {shown}"
    return _finding(expectation, message)


# ----------------------------------------------------------------- the paper's, torchvision's ...


def _check_name(graph: Graph, expectation: Expectation) -> Diagnostic | None:
    try:
        if expectation.claim.name == "weights":
            return not_taking(graph, expectation)
        return _check_paper(graph, expectation)
    except UsageError as error:
        return Diagnostic("E0302", str(error), Label(expectation.claim.value.span))


def _check_paper(graph: Graph, expectation: Expectation) -> Diagnostic | None:
    from resnetc.analysis.paper import Verdict, check_paper

    assert isinstance(expectation.value, str)
    report = check_paper(graph, expectation.value)
    if report.holds:
        return None
    notes = tuple(
        f"{row.what}: {row.paper} in the paper; here {row.here}"
        for row in report.rows
        if row.verdict is Verdict.DIFFERS
    )
    message = f"{expectation.network} is not the network of {report.title}"
    advice = Help("`resnetc check --paper` shows the whole comparison")
    return Diagnostic(
        "E0503", message, Label(expectation.claim.value.span), notes=notes, help=advice
    )


_CHECKS: Mapping[Kind, Callable[[Graph, Expectation], Diagnostic | None]] = {
    Kind.COUNT: _check_count,
    Kind.SIZE: _check_field,
    Kind.SHAPE: _check_output,
    Kind.NAME: _check_name,
}
