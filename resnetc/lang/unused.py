"""Warnings about a file's text: names that nothing reads, and labels that mislead.

They are told of files without mistakes. A comment `# allow W0202` on a line keeps its warning
back; a name that begins with `_` may be unused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import fields, is_dataclass

from resnetc.diagnostics import Diagnostic, Help, Label, Span
from resnetc.lang import syntax as s
from resnetc.lang.mending import whole_line
from resnetc.lang.modules import Module

_ALLOWED = re.compile(r"\ballow ([EW]\d{4}(?:[ ,]+W\d{4})*)")


def unused(module: Module) -> list[Diagnostic]:
    """What stands in a file and serves nothing, in source order."""
    found = [*_edition(module), *_imports(module)]
    wanted = _signature_names(module)
    for decl in module.file.decls:
        found += _parameters(decl, module, wanted)
        found += _bindings(decl)
        found += _mixed_labels(decl)
    return sorted(found, key=lambda finding: finding.primary.span.start)


def allowed(finding: Diagnostic) -> bool:
    """Whether a comment on its line says that this warning is known."""
    span = finding.primary.span
    _, _, comment = span.source.line_text(span.line).partition("#")
    match = _ALLOWED.search(comment)
    return match is not None and finding.code in match[1]


# ----------------------------------------------------------------------------------- what is read


def _nodes(node: object) -> Iterator[object]:
    """A node and all below it. The depth of a tree is limited, so that this may recurse."""
    yield node
    if isinstance(node, tuple):
        for item in node:
            yield from _nodes(item)
    elif is_dataclass(node) and not isinstance(node, Span):
        for field in fields(node):
            value = getattr(node, field.name)
            if not isinstance(value, str | int | float):
                yield from _nodes(value)


def names_read_in(node: object) -> set[str]:
    """Names that are read somewhere below a node of the syntax tree."""
    names = set()
    for inner in _nodes(node):
        if isinstance(inner, s.Name | s.Call):
            names.add(inner.name)
    return names


def _signature_names(module: Module) -> set[str]:
    """Parameters that a block must have to be placed somewhere, whether it needs them or not."""
    types = (
        param.type
        for definition in module.names.values()
        if isinstance(definition.decl, s.Callable)
        for param in definition.decl.params
    )
    return {inner.name for type_ in types for inner in type_.params or ()}


# ------------------------------------------------------------------------------------- the edition


def _edition(module: Module) -> Iterator[Diagnostic]:
    if module.file.edition is None:
        start = Span(module.file.source, 0, 0)
        advice = Help("begin with `rnet 1`", start, "rnet 1\n\n")
        message = "the file does not say in which edition of the language it is written"
        yield Diagnostic("W0101", message, Label(start), help=advice)


# --------------------------------------------------------------------------------------- the names


def names_read(module: Module) -> set[str]:
    """Names that some declaration of a file reads."""
    return set().union(*map(names_read_in, module.file.decls))


def _imports(module: Module) -> Iterator[Diagnostic]:
    read = names_read(module)
    for use in module.file.uses:
        for name in use.names:
            if name.alias not in read and name.alias not in module.broken:
                message = f"nothing uses `{name.alias}`"
                advice = _without_import(use, name)
                yield Diagnostic("W0201", message, Label(name.span), help=advice)


def _without_import(use: s.Use, name: s.ImportName) -> Help:
    if len(use.names) == 1:
        return Help("remove the import", whole_line(use.span), "")
    source, text = name.span.source, name.span.source.text
    start, end = name.span.start, name.span.end
    behind = re.compile(r"\s*,\s*").match(text, end)
    if behind and name is not use.names[-1]:
        return Help("remove it", Span(source, start, behind.end()), "")
    before = text.rindex(",", 0, start)
    return Help("remove it", Span(source, before, end), "")


def _parameters(decl: s.Decl, module: Module, wanted: set[str]) -> Iterator[Diagnostic]:
    """Parameters that their declaration never reads, unless a signature asks for them."""
    if not isinstance(decl, s.Block | s.Network | s.Shortcut | s.Function):
        return
    read = names_read_in(decl)
    for param in decl.params:
        sets_ambient = isinstance(decl, s.Network) and param.name in module.ambients
        if param.name in read or param.name in wanted or sets_ambient or param.name[0] == "_":
            continue
        message = f"`{decl.name}` never reads its parameter `{param.name}`"
        yield Diagnostic("W0203", message, Label(param.span))


def _bindings(decl: s.Decl) -> Iterator[Diagnostic]:
    """`let` and `as` whose name nothing reads."""
    read = names_read_in(decl)
    for node in _nodes(decl):
        if isinstance(node, s.Let):
            names = [name for name in node.targets if name not in read and name[0] != "_"]
            if len(names) == len(node.targets):
                advice = Help("remove it", whole_line(node.span), "")
                listed = " and ".join(f"`{name}`" for name in names)
                message = f"nothing reads {listed}"
                yield Diagnostic("W0202", message, Label(node.span), help=advice)
        elif isinstance(node, s.Step):
            for bind in node.binds:
                if bind.name not in read and bind.name[0] != "_":
                    yield _unread_bind(node, bind)


def _unread_bind(step: s.Step, bind: s.Bind) -> Diagnostic:
    message = f"nothing goes on from `{bind.name}`"
    advice = None
    if len(step.binds) == 1:
        text = step.span.source.text
        word = text.rindex("as", step.core.span.end, bind.span.start)
        start = word - (len(text[:word]) - len(text[:word].rstrip()))
        advice = Help("remove it", Span(step.span.source, start, bind.span.end), "")
    return Diagnostic("W0204", message, Label(bind.span), help=advice)


# -------------------------------------------------------------------------------------- the labels


def _mixed_labels(decl: s.Decl) -> Iterator[Diagnostic]:
    """A `seq` that numbers some of its layers and not others."""
    for node in _nodes(decl):
        if not isinstance(node, s.Call) or node.name != "seq" or node.body is None:
            continue
        chains = (chain for chain in node.body.statements if isinstance(chain, s.Chain))
        steps = [step for chain in chains for step in chain.steps if isinstance(step.core, s.Call)]
        labelled = [step for step in steps if step.label is not None]
        numbered = [step for step in steps if step.label is None]
        if labelled and numbered:
            label = labelled[0].label
            assert label is not None
            others = Label(numbered[0].span, "takes the next number")
            message = "this `seq` numbers some of its layers and labels others"
            note = "a labelled layer takes no number, so that the numbers are not the positions"
            yield Diagnostic("W0401", message, Label(label.span, "labelled"), (others,), (note,))
