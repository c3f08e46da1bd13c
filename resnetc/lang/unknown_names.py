"""Names that mean nothing where they stand, and what was meant: only what fits the place."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from resnetc.diagnostics import Edit, Help, Label, Source, Span, is_typo, suggest
from resnetc.lang import syntax as s
from resnetc.lang.builtins import FUNCTIONS
from resnetc.lang.mistake import Mistake
from resnetc.lang.modules import Module, elsewhere
from resnetc.lang.syntax_place import STATEMENTS
from resnetc.lang.values import a_type, attributes


@dataclass(frozen=True)
class Wanted:
    """What may stand at a place: declarations of some kinds, local names of some types (any where
    it is None), and other words."""

    declared: tuple[type[s.Decl], ...]
    types: frozenset[str] | None = None
    words: tuple[str, ...] = ()

    def takes(self, type_: str | None) -> bool:
        """Whether a local name may stand here; the type of some is not known."""
        return self.types is None or type_ is None or type_ in self.types


VALUE = Wanted(
    (s.Primitive, s.Block, s.Ambient, s.Shortcut, s.Function, s.Const), words=tuple(FUNCTIONS)
)
LAYER = Wanted((s.Primitive, s.Block, s.Ambient), frozenset({"layer", "block"}), STATEMENTS)
TENSOR = Wanted((), frozenset({"tensor", "list"}))
HOLDER = Wanted((s.Const,), frozenset({"tensor", "record", "size"}))
"""What has attributes."""
NETWORK = Wanted((s.Network, s.Variant))


def unknown_name(
    name: str, span: Span, home: Module, wanted: Wanted = VALUE, local: Iterable[str] = ()
) -> Mistake:
    """The mistake of a name that means nothing in a file. `local` are the names in force there
    that fit."""
    message = f"there is nothing called `{name}` here"
    slashes = _COMMENT.match(span.source.text, span.source.line_start(span.line), span.start)
    if slashes:
        sign = Span(span.source, *slashes.span(1))
        return Mistake("E0201", message, span, help=Help("a comment begins with `#`", sign, "#"))
    modules = elsewhere(name, home, wanted.declared)
    if modules:
        module = modules[0]
        message = f"`{name}` is declared in `{module}`, but not imported here"
        advice = _import_of(name, module, home, sure=len(modules) == 1)
        return Mistake("E0202", message, span, help=advice)
    declared = {n: d.decl for n, d in home.names.items() if isinstance(d.decl, wanted.declared)}
    meant = _elsewhere_called(name, span, declared)
    if meant is not None:
        return Mistake("E0201", message, span, help=meant)
    close = suggest(name, [*local, *declared, *wanted.words])
    if close is None:
        return Mistake("E0201", message, span, help=_similar_elsewhere(name, span, home, wanted))
    similar = Help(f"did you mean `{close}`?", span, close, sure=is_typo(name, close))
    secondary: tuple[Label, ...] = ()
    if close in declared and close not in local:
        secondary = (Label(declared[close].name_span, "declared here"),)
    return Mistake("E0201", message, span, secondary=secondary, help=similar)


def unknown_attribute(expr: s.Attr, base: object) -> Mistake:
    """The mistake of an attribute that a value does not have."""
    known, end = attributes(base), expr.span.end
    word = Span(expr.span.source, end - len(expr.name), end)
    number = expr.base.span
    if number.text.isdecimal() and word.start > number.end + 1:
        # `3.` at the end of a line; the next word was read as the attribute.
        written = Span(number.source, number.start, number.end + 1)
        message = f"`{written.text}` is not a size or a number"
        advice = Help(f"write `{number.text}.0`", written, f"{number.text}.0")
        return Mistake("E0103", message, written, "digits follow the dot", help=advice)
    close = suggest(expr.name, known)
    note = f"it has {', '.join(known)}" if known else "it has no attributes"
    message = f"{a_type(base)} has no `{expr.name}`"
    similar = Help(f"did you mean `{close}`?", word, close) if close else None
    return Mistake("E0212", message, expr.span, notes=(note,), help=similar)


def of_label(name: str, span: Span, step: s.Step, *, output: bool) -> Mistake:
    """The mistake of a label that stands where a tensor is wanted."""
    assert step.label is not None
    message = f"`{name}` is a label: it names parameters, not a tensor"
    end = Span(step.span.source, step.span.end, step.span.end)
    kept = [bind.name for bind in step.binds if not bind.append]
    if kept:
        text = f"that row's tensor is called `{kept[0]}`"
        advice = Help(text, span, kept[0], sure=len(step.binds) == 1)
    else:
        text = f"keep the tensor: `as {name}` at the end of that row"
        text += f', or give what the label names: `output "{name}"`' if output else ""
        # What is bound already would be bound differently.
        advice = Help(text) if step.binds else Help(text, end, f" as {name}")
    labelled = (Label(step.label.span, "the label"),)
    return Mistake("E0201", message, span, secondary=labelled, help=advice)


def _import_of(name: str, module: str, home: Module, *, sure: bool) -> Help:
    """The advice to import a name: in the import that there is of the module, or in one more."""
    text, source = f"add `use {module} {{ {name} }}`", home.file.source
    for use in home.file.uses:
        if "." * use.dots + ".".join(use.parts) == module and use.names:
            end = use.names[-1].span.end
            return Help(text, Span(source, end, end), f", {name}", sure=sure)
    if home.file.uses:
        end = home.file.uses[-1].span.end
        return Help(text, Span(source, end, end), f"\nuse {module} {{ {name} }}", sure=sure)
    first = home.file.decls[0].span.line if home.file.decls else 1
    start = source.line_start(_above_comments(source, first))
    return Help(text, Span(source, start, start), f"use {module} {{ {name} }}\n\n", sure=sure)


def _similar_elsewhere(name: str, span: Span, home: Module, wanted: Wanted) -> Help | None:
    """A name like this in a file that is imported from, though it is not imported itself."""
    for use in home.file.uses:
        imported = next((n.alias for n in use.names if n.alias in home.names), None)
        if imported is None:
            continue
        other = home.names[imported].home
        declared = {d.name: d for d in other.file.decls if isinstance(d, wanted.declared)}
        close = suggest(name, declared)
        if close is not None:
            place = f"{other.file.source.name}:{declared[close].name_span.line}"
            end = Span(home.file.source, use.names[-1].span.end, use.names[-1].span.end)
            text = f"`{close}` is declared in {place}; import and write it"
            more = (Edit(end, f", {close}"),)
            return Help(text, span, close, more=more, sure=is_typo(name, close))
    return None


def _above_comments(source: Source, line: int) -> int:
    """The first of the comment lines right above a line."""
    while line > 1 and source.line_text(line - 1).startswith("#"):
        line -= 1
    return line


# ------------------------------------------------------------------------------ other languages

_REPEATED = re.compile(r"[xX]\d+")
_COMMENT = re.compile(r"[ \t]*(//)")
_ARGUMENTS = re.compile(r"\s*\(\s*[^)\s]")


def _elsewhere_called(name: str, span: Span, declared: dict[str, s.Decl]) -> Help | None:
    """What a name of Python or of another framework is called here.

    The name alone can be replaced; arguments are given in another order, or mean something else.
    """
    if _REPEATED.fullmatch(name) and span.source.text[: span.start].rstrip().endswith(")"):
        return Help(f"a repeat is written `* {name[1:]}`", span, f"* {name[1:]}")
    if name in _CONSTANTS:
        return Help(f"did you mean `{_CONSTANTS[name]}`?", span, _CONSTANTS[name])
    here = _OPS.get(name.replace("_", "").casefold())
    if here is None or here not in declared:
        return None
    given = _ARGUMENTS.match(span.source.text, span.end) is not None
    return Help(f"`{name}` is called `{here}` here", span, here, sure=not given)


_CONSTANTS = {"True": "true", "False": "false", "None": "none", "null": "none"}
_OPS = {
    "swish": "silu",
    "hswish": "hardswish",
    "hsigmoid": "hardsigmoid",
    "leakyrelu": "leaky_relu",
    "conv2d": "conv",
    "convolution": "conv",
    "convolution2d": "conv",
    "depthwiseconv2d": "depthwise",
    "convtranspose2d": "conv_transpose2d",
    "conv2dtranspose": "conv_transpose2d",
    "dense": "linear",
    "fullyconnected": "linear",
    "innerproduct": "linear",
    "batchnorm2d": "batchnorm",
    "batchnormalization": "batchnorm",
    "layernorm": "layernorm",
    "layernormalization": "layernorm",
    "groupnorm": "groupnorm",
    "groupnormalization": "groupnorm",
    "maxpool2d": "maxpool",
    "maxpooling2d": "maxpool",
    "avgpool2d": "avgpool",
    "averagepool": "avgpool",
    "averagepooling2d": "avgpool",
    "adaptiveavgpool2d": "adaptive_avgpool",
    "globalaveragepool": "gap",
    "globalaveragepooling2d": "gap",
    "globalavgpool": "gap",
    "droppath": "drop_path",
    "stochasticdepth": "drop_path",
    "zeropad2d": "pad",
    "zeropadding2d": "pad",
}
"""Ops of torch, Keras and ONNX, in small letters without `_`, and the same ones of ours."""
