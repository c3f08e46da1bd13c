"""A layer or block explained: what it is, where it is written, and who set its arguments."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from resnetc.diagnostics import Span, UsageError, suggest
from resnetc.lang import origins as o
from resnetc.lang.origins import Origin, Placement, Tracer
from resnetc.lang.record import CheckedNetwork, PlacedBlock, PlacedOp
from resnetc.lang.values import Layer, Policy, show

_SAID = {
    o.WRITTEN: "written here",
    o.BOUND: "given at {place}",
    o.WITH: "set by `with` at {place}",
    o.SETTING: "set by --set",
    o.DEFAULT: "default of `{owner}`, {place}",
    o.LET: "`let` at {place}",
    o.SET: "`set` at {place}",
    o.LOOP: "an item, at {place}",
    o.PLACE: "{seen}",
    o.CONST: "`const` at {place}",
    o.AMBIENT: "what the ambient is at first, {place}",
    o.DECLARED: "declared at {place}",
}

_SEEN = dict.fromkeys(("first", "last", "index"), "of the repeat")
_SEEN |= dict.fromkeys(("input", "here"), "the tensor at this place")
_SEEN |= dict.fromkeys(("output", "stride", "changed"), "what the shortcut has to reconcile")


@dataclass(frozen=True)
class Subject:
    """What is explained: an op or a block, how it was placed, and the blocks around it.

    `placement` is None where no call of a layer made it, as of a `seq`.
    """

    network: str
    label: str
    placed: PlacedOp | PlacedBlock
    placement: Placement | None
    inputs: tuple[str, ...]
    ops: tuple[PlacedOp, ...]
    around: tuple[PlacedBlock, ...]

    @property
    def kind(self) -> str:
        """The op's or block's name."""
        is_op = isinstance(self.placed, PlacedOp)
        return self.placed.op.name if is_op else self.placed.block  # type: ignore[union-attr]

    @property
    def params(self) -> int:
        """Trainable numbers."""
        specs = (spec for op in self.ops for spec in op.op.parameters() if spec.role.trainable)
        return sum(spec.type.elements for spec in specs)

    @property
    def macs(self) -> int:
        """Multiply-accumulates per sample."""
        return sum(op.op.macs(op.type) for op in self.ops)

    @property
    def parameters(self) -> dict[str, str]:
        """Shapes of the parameters by path."""
        return {
            f"{op.prefix}.{spec.name}".strip("."): str(spec.type)
            for op in self.ops
            for spec in op.op.parameters()
        }


def find_subject(network: CheckedNetwork, tracer: Tracer, label: str) -> Subject:
    """The op or block of a label. Raises UsageError when there is none."""
    ops = network.ops
    for i, op in enumerate(ops):
        if op.name == label:
            inputs = tuple(str(ops[j].type) for j in op.inputs)
            around = _around(network, op.scope)
            return Subject(network.name, label, op, tracer.ops.get(i), inputs, (op,), around)
    for i, block in enumerate(network.blocks):
        if block.path == label and label:
            return _block(network, tracer, label, i)
    known = [*(op.name for op in ops), *(block.path for block in network.blocks if block.path)]
    close = suggest(label, known)
    hint = f"; did you mean `{close}`?" if close else ""
    raise UsageError(f"{network.name} has no layer `{label}`{hint}")


def _block(network: CheckedNetwork, tracer: Tracer, label: str, index: int) -> Subject:
    """The innermost block of a path is what the label is of; others only group."""
    inner = [i for i, b in enumerate(network.blocks) if b.path == label]
    index = next((i for i in inner if i in tracer.blocks), index)
    block = network.blocks[index]
    positions = [i for i, op in enumerate(network.ops) if _is_in(network, op.scope, index)]
    made = tuple(network.ops[i] for i in positions)
    outside = {j for i in positions for j in network.ops[i].inputs} - set(positions)
    inputs = tuple(str(network.ops[j].type) for j in sorted(outside))
    around = () if block.parent is None else _around(network, block.parent)
    placement = tracer.blocks.get(index)
    return Subject(network.name, label, block, placement, inputs, made, around)


def _is_in(network: CheckedNetwork, scope: int | None, block: int) -> bool:
    while scope is not None and scope > block:
        scope = network.blocks[scope].parent
    return scope == block


def _around(network: CheckedNetwork, scope: int | None) -> tuple[PlacedBlock, ...]:
    """The blocks that something stands in, from the outside."""
    chain: list[PlacedBlock] = []
    while scope is not None:
        chain.append(network.blocks[scope])
        scope = network.blocks[scope].parent
    return tuple(reversed(chain))


# ------------------------------------------------------------------------------------------- text


def text(subject: Subject) -> str:
    """The explanation for a reader."""
    lines = [f"{subject.label}: {subject.kind}, in {subject.network}", ""]
    rows = [("written", f"{_place(subject.placed.span)}  {_short(subject.placed.span)}")]
    if subject.placement is not None and subject.placement.callee[0] != subject.kind:
        name, origin = subject.placement.callee
        is_what = f"`{name}` is {_value(origin.value)}, {_said(name, origin, here=False)}"
        rows.append(("callee", is_what))
        rows += [("", f"  {shown}  {said}") for shown, said in _rows(origin.names, 1)]
    rows.append(("input", ", ".join(dict.fromkeys(subject.inputs)) or "none"))
    rows.append(("output", _output(subject)))
    if isinstance(subject.placed, PlacedOp):
        rows += [("owns", f"{path}  {shape}") for path, shape in subject.parameters.items()]
    rows.append(("cost", f"{subject.params:,} parameters, {subject.macs:,} MACs"))
    lines += [f"  {name:<8}{value}".rstrip() for name, value in rows]
    lines += ["", "  stands in", *_table(_chain(subject))]
    if subject.placement is not None and subject.placement.arguments:
        lines += ["", "  arguments", *_table(_rows(subject.placement.arguments))]
    return "\n".join(line.rstrip() for line in lines)


def _chain(subject: Subject) -> list[tuple[str, str, str]]:
    return [
        (block.path or subject.network, block.block, f"{_place(block.span)}  {_short(block.span)}")
        for block in subject.around
    ]


def _table(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Rows whose columns are as wide as they need to be."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "    " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        for row in rows
    ]


def _rows(
    names: Sequence[tuple[str, Origin]], depth: int = 0, indent: int | None = None
) -> list[tuple[str, str]]:
    """A row for each value, and indented under it the values that it was made of."""
    rows = []
    for name, origin in names:
        shown = f"{'  ' * (depth if indent is None else indent)}{name} = {_value(origin.value)}"
        rows.append((shown, _said(name, origin, here=depth == 0)))
        rows += _rows(origin.names, depth + 1)
    return rows


def _said(name: str, origin: Origin, *, here: bool) -> str:
    """How a value was set; what is written at the layer's own call is written `here`."""
    kind = o.BOUND if origin.kind == o.WRITTEN and not here and origin.span else origin.kind
    place = "" if origin.span is None else _place(origin.span)
    seen = _SEEN.get(name, "")
    said = _SAID[kind].format(place=place, owner=origin.owner, seen=seen)
    plain = origin.text in ("", _value(origin.value)) or kind == o.DECLARED
    return said if plain else f"{said}: {origin.text}"


def _output(subject: Subject) -> str:
    return str(subject.ops[-1].type) if subject.ops else "what it takes"


def _place(span: Span) -> str:
    return f"{span.source.name}:{span.line}"


def _short(span: Span) -> str:
    line = " ".join(span.text.split())
    return line if len(line) <= 72 else f"{line[:69]}..."


def _value(value: object) -> str:
    """A value as the language writes it, with what is bound of a layer."""
    if isinstance(value, Layer | Policy) and value.bound:
        arguments = (
            f"{b.name}={_value(b.value)}" if b.name else _value(b.value) for b in value.bound
        )
        return f"{value.declaration.name}({', '.join(arguments)})"
    return show(value)


def network_text(network: CheckedNetwork, tracer: Tracer) -> str:
    """Who set a network's parameters and ambients, for a reader."""
    inputs = (op.type for op in network.ops if op.op.name == "input")
    shapes = ", ".join(map(str, inputs))
    place = _place(network.blocks[0].span)
    lines = [f"{network.name}: of {network.blocks[0].block}, {place}, on {shapes}", ""]
    return "\n".join(line.rstrip() for line in [*lines, *_table(_rows(tracer.network, 1, 0))])


# ------------------------------------------------------------------------------------------- JSON


def network_document(network: CheckedNetwork, tracer: Tracer) -> dict[str, Any]:
    """Who set a network's parameters and ambients, for machines."""
    template = network.blocks[0]
    return {
        "network": network.name,
        "template": template.block,
        "written": _span_json(template.span),
        "values": [_origin_json(name, origin) for name, origin in tracer.network],
    }


def document(subject: Subject) -> dict[str, Any]:
    """The explanation for machines."""
    placement = subject.placement
    callee = None if placement is None else _origin_json(*placement.callee)
    arguments = () if placement is None else placement.arguments
    return {
        "network": subject.network,
        "label": subject.label,
        "kind": subject.kind,
        "is_block": isinstance(subject.placed, PlacedBlock),
        "written": _span_json(subject.placed.span),
        "callee": callee,
        "inputs": list(subject.inputs),
        "output": str(subject.ops[-1].type) if subject.ops else None,
        "parameters": subject.parameters,
        "params": subject.params,
        "macs": subject.macs,
        "around": list(_around_json(subject)),
        "arguments": [_origin_json(name, origin) for name, origin in arguments],
    }


def _around_json(subject: Subject) -> Iterator[dict[str, Any]]:
    for block in subject.around:
        yield {"path": block.path, "block": block.block, **_span_json(block.span)}


def _origin_json(name: str, origin: Origin) -> dict[str, Any]:
    return {
        "name": name,
        "value": None
        if origin.value is None and origin.kind == o.DECLARED
        else _value(origin.value),
        "set_by": origin.kind,
        "owner": origin.owner,
        "place": None if origin.span is None else _span_json(origin.span),
        "names": [_origin_json(*inner) for inner in origin.names],
    }


def _span_json(span: Span) -> dict[str, Any]:
    line, column = span.source.position(span.start)
    text = " ".join(span.text.split())
    return {"file": span.source.name, "line": line, "column": column, "text": text}
