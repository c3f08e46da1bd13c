"""Edits that mend what elaboration finds: settings, arguments, labels.

What is known here are places in the text; an edit is made where the text is plain enough to be
sure of it, and is only a suggestion elsewhere.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from resnetc.diagnostics import Edit, Help, Label, Span
from resnetc.lang import syntax as s
from resnetc.lang.modules import Definition
from resnetc.lang.values import Tensor, show, show_type
from resnetc.ops import Op, OpError

if TYPE_CHECKING:
    from resnetc.lang.record import PlacedOp

_LABEL = re.compile(r"([A-Za-z_]\w*?)(\d*)\s*:")


# ------------------------------------------------------------------------------- what `with` names


def as_parameter(template: Definition, setting: s.Setting) -> Help | None:
    """Make of a `set` in a network's body a parameter, which `with` overrides."""
    decl, ambient = template.decl, template.home.names[setting.name].decl
    assert isinstance(decl, s.Network)
    assert isinstance(ambient, s.Ambient)
    new = f"{setting.name}: {show_type(ambient.type)} = {setting.value.span.text}"
    params = [param.span.text for param in decl.params]
    text = f"make it a parameter: `network {decl.name}({', '.join([*params, new])})`"
    statement = _alone(decl.body, setting)
    if statement is None:
        return Help(text)
    source = decl.span.source
    if decl.params:
        end = decl.params[-1].span.end
        added = Edit(Span(source, end, end), f", {new}")
    else:
        head = re.compile(r"(?:\s*\(\s*\))?").match(source.text, decl.name_span.end)
        assert head is not None
        added = Edit(Span(source, *head.span()), f"({new})")
    return Help(text, more=(added, Edit(whole_line(statement.span), "")))


def _alone(body: s.Body, setting: s.Setting) -> s.Set | None:
    """The `set` of the body itself that sets this and nothing else."""
    sets = (statement for statement in body.statements if isinstance(statement, s.Set))
    return next((found for found in sets if found.settings == (setting,)), None)


def without_setting(span: Span) -> Help | None:
    """Take a `name = value` out of a `with`."""
    source, text = span.source, span.source.text
    before = re.search(r"(,|\bwith)\s*$", text[: span.start])
    after = re.compile(r"\s*,\s*").match(text, span.end)
    if before is None:
        return None
    if before[1] == ",":
        return Help("remove it", Span(source, before.start(), span.end), "")
    if after:
        return Help("remove it", Span(source, span.start, after.end()), "")
    start = len(text[: before.start()].rstrip())
    return Help("remove it", Span(source, start, span.end), "")


def whole_line(span: Span) -> Span:
    """The whole line of a statement that stands alone on it, else the statement and the space
    behind it."""
    source, text = span.source, span.source.text
    first = source.line_start(span.line)
    end = re.compile(r"[ \t]*(?:\r?\n|$)").match(text, span.end)
    if end and not text[first : span.start].strip():
        return Span(source, first, end.end())
    space = re.compile(r"[ \t]*").match(text, span.end)
    assert space is not None
    return Span(source, span.start, space.end())


# ------------------------------------------------------------------------------------------ shapes


def culprit(
    ops: Sequence[PlacedOp], here: Tensor, expected: tuple[object, ...], claim: Span
) -> tuple[Label, Help | None]:
    """Which argument gave the tensor a shape that is not the expected one, and what would mend it.

    An argument is to blame if without it the shape is the expected one.
    """
    made = ops[here.id]
    operands = tuple(ops[i].type for i in made.inputs)
    for argument, without in _without_one(made):
        try:
            result = without.result(*operands)
        except OpError:
            continue
        if result.shape[len(result.shape) - len(expected) :] == expected:
            label = Label(argument, f"gives {here.type}; without it {result}")
            return label, Help(f"remove `{argument.text}`", _and_comma(argument), "")
    found = here.type.shape[max(0, len(here.type.shape) - len(expected)) :]
    shown = "x".join(map(show, found))
    advice = None
    if claim.text == "x".join(map(show, expected)):
        advice = Help(f"or is it `=> {shown}`?", claim, shown, sure=False)
    return Label(made.span, f"gives {here.type}"), advice


def _without_one(made: PlacedOp) -> list[tuple[Span, Op]]:
    """The op with one of the arguments that are written at its call left to its default."""
    changed = []
    for field in dataclasses.fields(made.op):
        written = re.search(rf",\s*({field.name}\s*=\s*[\w%.]+)(?=\s*[,)])", made.span.text)
        if written and field.default is not dataclasses.MISSING and field.name != "pad":
            at = made.span.start
            span = Span(made.span.source, at + written.start(1), at + written.end(1))
            changed.append((span, dataclasses.replace(made.op, **{field.name: field.default})))
    return changed


def _and_comma(argument: Span) -> Span:
    start = argument.source.text.rindex(",", 0, argument.start)
    return Span(argument.source, start, argument.end)


def as_residual(add: Span, branches: Sequence[Span]) -> Help:
    """Make a `residual` of an `add` of the tensor itself and one branch."""
    text = "`residual { ... }` adds a shortcut that projects where the shape changes"
    source = add.source
    bodies = [branch for branch in branches if branch.text[1:].strip() != "identity"]
    last = max((branch.end for branch in branches), default=add.end)
    opening = re.compile(r"\s*\{").match(source.text, add.end)
    closing = re.compile(r"\s*\}").match(source.text, last)
    if len(branches) != 2 or len(bodies) != 1 or not opening or not closing:
        return Help(text)
    body = bodies[0].text[1:].strip()
    pad = "\n" + " " * (len(source.line_text(add.line)) - len(source.line_text(add.line).lstrip()))
    inside = f"{pad}  {body}{pad}" if "\n" in source.text[opening.end() : last] else f" {body} "
    whole = Span(source, add.start, closing.end())
    return Help(text, whole, f"residual(act=none) {{{inside}}}", sure=False)


def with_projection(shortcut: Span, advice: Help | None) -> Help | None:
    """Ask for a projection where a shortcut was asked for: at a `residual`, or by its argument."""
    if advice is None:
        return None
    end = Span(shortcut.source, shortcut.end, shortcut.end)
    if shortcut.text == "residual" and not shortcut.source.text.startswith("(", shortcut.end):
        return Help(advice.text, end, "(shortcut=B)", sure=False)
    if shortcut.text.isidentifier() and shortcut.text != "residual":
        return Help(advice.text, shortcut, "B", sure=False)
    return advice


def begin_with_input(body: s.Body, advice: Help) -> Help:
    """Give a network its input; its shape is the usual one of ImageNet."""
    start = body.span.start + 1
    inside = body.span.source.text[start : body.span.end - 1]
    new = "\n  input 3x224x224" if "\n" in inside else " input 3x224x224 "
    place = Span(body.span.source, start, start)
    return Help(advice.text, place, new, sure=False)


def as_map(ops: Sequence[PlacedOp], here: Tensor) -> Help | None:
    """Give the network a feature map as its input, where the tensor is no map because the input is
    none."""
    made = ops[here.id]
    while made.inputs and len(made.type.shape) != 3:
        made = ops[made.inputs[0]]
    shape = made.type.shape
    if made.inputs or len(shape) == 3:
        return None
    if len(shape) == 1:
        return Help("a feature map has channels, height and width: `input 3x224x224`")
    wanted = (1, *shape) if len(shape) == 2 else shape[-3:]
    new = f"input {'x'.join(map(str, wanted))}"
    why = "of one channel" if len(shape) == 2 else "without the batch"
    return Help(f"an input {why} is written `{new}`", made.span, new, sure=False)


# ------------------------------------------------------------------------------------------ labels


def relabelled(span: Span, text: str) -> Help:
    """Another label for a layer that has one: the next number."""
    label = _LABEL.match(span.text)
    if label is None:
        return Help(text)
    new = f"{label[1]}{int(label[2] or 1) + 1}"
    where = Span(span.source, span.start, span.start + len(label[1] + label[2]))
    return Help(f"relabel one, for example `{new}`", where, new, sure=False)
