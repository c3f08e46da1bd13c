"""What may be typed next: what the grammar lets follow, filled with the names in force."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterator
from pathlib import Path

from lsprotocol import types as lsp

from resnetc.bounds import hints, options, rules
from resnetc.highlighting import words
from resnetc.lang import syntax as s
from resnetc.lang.builtins import FUNCTIONS
from resnetc.lang.expectations import KEYS
from resnetc.lang.modules import Definition, Module
from resnetc.lang.roots import places, project_root
from resnetc.lang.sections import SCHEMAS
from resnetc.lang.structures import STRUCTURES
from resnetc.lang.values import TYPES
from resnetc.lsp.analysis import Analysis
from resnetc.lsp.cursor import CallAt, Cursor, cursor
from resnetc.lsp.docs import BUILTINS, doc_of
from resnetc.lsp.documents import Documents
from resnetc.lsp.hover import headline, stands_for
from resnetc.lsp.symbols import declared, signature_of, signature_of_value
from resnetc.recipes import DATA_SETS, WORDS

_ATTRIBUTES = {
    "channels": "channels of a tensor",
    "height": "height of a tensor or size",
    "width": "width of a tensor or size",
    "shape": "extents of a tensor",
}
_PLACEABLE = (s.Primitive, s.Block, s.Ambient)
_HAVE_VALUES = (*_PLACEABLE, s.Const, s.Function, s.Shortcut)
_SECTIONS: dict[str, tuple[type[s.Decl], ...]] = {
    "network": (s.Network, s.Variant),
    "recipe": (s.Recipe, s.RecipeVariant),
    "experiment": (s.Experiment, s.ExperimentVariant),
    "deploy": (s.Deploy, s.DeployVariant),
}
_NEAR, _OWN, _LIBRARY, _WORDS = "0", "1", "2", "3"
"""Order of what is offered: arguments and locals, the file's, the standard library's, keywords."""


def complete(analysis: Analysis, documents: Documents, offset: int) -> list[lsp.CompletionItem]:
    """What may stand at an offset of the text."""
    at = cursor(analysis.source, offset)
    if at.in_comment:
        return []
    if at.in_string:
        return list(_strings(analysis, at))
    if at.previous == "." and at.follows is not None and "use" not in _texts(at):
        return [_item(n, lsp.CompletionItemKind.Property, d) for n, d in _ATTRIBUTES.items()]
    if _texts(at)[:1] == ["use"]:
        return list(_imports(analysis, documents, at))
    found = {item.label: item for item in _words(at)}
    found |= {item.label: item for item in _names(analysis, at)}
    return list(found.values())


def _texts(at: Cursor) -> list[str]:
    return [token.text for token in at.tokens]


# ------------------------------------------------------------------------------ by kind of place


def _names(analysis: Analysis, at: Cursor) -> Iterator[lsp.CompletionItem]:
    follows = at.follows
    call = at.call()
    if follows is None:
        yield from _values(analysis, at)
        yield from _placeable(analysis, at)
    elif "FROM" in follows:
        yield from _placeable(analysis, at)
    elif at.among_sources():
        yield from _tensors(at)
    elif "FLOAT" in follows and "NAME" in follows:
        if call is not None and at.previous in ("(", ","):
            yield from _arguments(analysis, at, call)
        yield from _typed(analysis, at, call)
        yield from _values(analysis, at)
    elif _is_key(at):
        yield from _keys(analysis, at)
    elif "STRING" in follows and "NAME" in follows:
        for name in sorted(TYPES):
            yield _item(name, lsp.CompletionItemKind.TypeParameter, "type", order=_OWN)


def _placeable(analysis: Analysis, at: Cursor) -> Iterator[lsp.CompletionItem]:
    """What can be placed in a row."""
    for name in at.locals():
        yield _item(name, lsp.CompletionItemKind.Variable, "value", order=_NEAR)
    for name in STRUCTURES:
        kind = lsp.CompletionItemKind.Keyword
        yield _item(name, kind, "structure", BUILTINS.get(name, ""), _LIBRARY)
    yield from _declared(analysis.module, _PLACEABLE)


def _tensors(at: Cursor) -> Iterator[lsp.CompletionItem]:
    """What `from` takes: `input` and `output` are words of the grammar."""
    for name in ("here", *at.locals()):
        yield _item(name, lsp.CompletionItemKind.Variable, "tensor", order=_NEAR)


def _is_key(at: Cursor) -> bool:
    """Whether a key of `key = value` may begin here, and neither a row nor a value."""
    follows = at.follows
    if follows is None or "FROM" in follows or "FLOAT" in follows:
        return False
    return "OUTPUT" in follows and "NAME" in follows


def _values(analysis: Analysis, at: Cursor) -> Iterator[lsp.CompletionItem]:
    """What has a value in an expression."""
    base = _base_kinds(at)
    if base is not None:
        yield from _declared(analysis.module, base)
        return
    for name in at.locals():
        yield _item(name, lsp.CompletionItemKind.Variable, "value", order=_NEAR)
    for name in FUNCTIONS:
        yield _item(
            name, lsp.CompletionItemKind.Function, "function", BUILTINS.get(name, ""), _LIBRARY
        )
    if at.settings_of() == "recipe":
        for name in (*WORDS, *DATA_SETS):
            yield _item(name, lsp.CompletionItemKind.Constant, "recipe", order=_NEAR)
    yield from _declared(analysis.module, _HAVE_VALUES)


def _base_kinds(at: Cursor) -> tuple[type[s.Decl], ...] | None:
    """Where only declarations of a kind can stand: what is derived from, what a section names."""
    if len(at.tokens) == 3 and at.previous == "=":
        return _SECTIONS.get(at.tokens[0].text)
    if at.settings_of() in ("experiment", "deploy"):
        return _SECTIONS.get(at.argument() or "")
    return None


def _arguments(analysis: Analysis, at: Cursor, call: CallAt) -> Iterator[lsp.CompletionItem]:
    """`name=` of the parameters that a call leaves open."""
    for param in _open(_called(analysis, at, call), call):
        kind = lsp.CompletionItemKind.Field
        item = _item(f"{param.name}=", kind, _one_line(param), order=_NEAR)
        item.filter_text = param.name
        yield item


def _open(params: tuple[s.Param, ...], call: CallAt) -> list[s.Param]:
    """The parameters that a call leaves open."""
    return [param for param in params if param.name not in call.given][call.positional :]


def _called(analysis: Analysis, at: Cursor, call: CallAt) -> tuple[s.Param, ...]:
    """The parameters of what is called; of a parameter, those that its type demands, or those of
    what it is by default."""
    local = next((param for param in at.parameters() if param.name == call.callee), None)
    if local is not None and local.type.params is not None:
        return local.type.params
    if local is not None:
        template = signature_of_value(local.default, analysis.module)
    else:
        template = signature_of(analysis.module.names.get(call.callee))
    known = template is not None and isinstance(template.decl, s.Callable)
    return template.decl.params if known else ()  # type: ignore[union-attr]


def _parameter(analysis: Analysis, at: Cursor, call: CallAt | None) -> s.Param | None:
    """The parameter that a value typed here is for."""
    if call is None:
        return None
    name = at.argument()
    params = _called(analysis, at, call)
    if name is not None:
        return next((param for param in params if param.name == name), None)
    return next(iter(_open(params, call)), None)


def _typed(analysis: Analysis, at: Cursor, call: CallAt | None) -> Iterator[lsp.CompletionItem]:
    """Values that a parameter's type lists."""
    param = _parameter(analysis, at, call)
    if param is None:
        return
    for choice in param.type.choices:
        kind = lsp.CompletionItemKind.EnumMember
        yield _item(f'"{choice}"', kind, f"for `{param.name}`", order=_NEAR)


def _strings(analysis: Analysis, at: Cursor) -> Iterator[lsp.CompletionItem]:
    """Inside quotes: the strings that a parameter takes."""
    param = _parameter(analysis, at, at.call())
    for choice in param.type.choices if param is not None else ():
        yield _item(choice, lsp.CompletionItemKind.EnumMember, order=_NEAR)


def _keys(analysis: Analysis, at: Cursor) -> Iterator[lsp.CompletionItem]:
    """Keys of `key = value`: ambients, a network's parameters, what a section knows."""
    where = at.settings_of()
    kind = lsp.CompletionItemKind.Property
    if where == "with":
        where = next(iter({at.tokens[0].text} & SCHEMAS.keys()), where)
    if where in SCHEMAS:
        for field in dataclasses.fields(SCHEMAS[where]):
            yield _item(field.name, kind, _told(SCHEMAS[where], field), order=_NEAR)
    elif where == "expect":
        for name in KEYS:
            yield _item(name, kind, "expectation", order=_NEAR)
    elif where in ("set", "with"):
        if where == "with":
            for param in _template_parameters(analysis, at):
                yield _item(param.name, kind, _one_line(param), order=_NEAR)
        yield from _declared(analysis.module, (s.Ambient,))


def _told(schema: type, field: dataclasses.Field[object]) -> str:
    """The type of a section's field and its bounds."""
    bounds = ", ".join(rules(hints(schema)[field.name]))
    if not bounds:
        return str(field.type)
    kinds = options(typing.get_type_hints(schema)[field.name])
    names = [kind.__name__ if isinstance(kind, type) else str(kind) for kind in kinds]
    return f"{' | '.join(names).replace('NoneType', 'none')}; must {bounds}"


def _template_parameters(analysis: Analysis, at: Cursor) -> tuple[s.Param, ...]:
    """Parameters of the network that `network x = base with` derives from."""
    texts = _texts(at)
    base = texts[texts.index("=") + 1] if "=" in texts[:-1] else ""
    template = signature_of(analysis.module.names.get(base))
    known = template is not None and isinstance(template.decl, s.Callable)
    return template.decl.params if known else ()  # type: ignore[union-attr]


def _imports(analysis: Analysis, documents: Documents, at: Cursor) -> Iterator[lsp.CompletionItem]:
    """Modules after `use`, names inside its braces."""
    texts = _texts(at)
    if "{" not in texts:
        yield from _modules(analysis, "".join(texts[1:]))
        return
    module = "".join(texts[1 : texts.index("{")])
    path = _module_path(analysis, module)
    if path is None:
        return
    taken = set(texts[texts.index("{") :])
    home = analysis.program.modules.get(path.resolve()) or Module(path, documents.file(path))
    for decl in home.file.decls:
        if decl.name not in taken:
            yield _declaration(Definition(home, decl), _NEAR)


def _modules(analysis: Analysis, typed: str) -> Iterator[lsp.CompletionItem]:
    """Names of modules that begin with what has been typed, up to the last dot."""
    own = analysis.path.parent
    prefix = typed[: typed.rfind(".") + 1]
    inner = prefix.split(".")[:-1]
    searched = [place.folder for place in places(own, project_root(own))]
    folders = [own] if prefix == "." else [folder.joinpath(*inner) for folder in searched]
    names = {p.stem for folder in folders for p in folder.glob("*.rnet") if p != analysis.path}
    if not prefix:
        names.add("std")
    for name in sorted(name for name in names if name.isidentifier()):
        yield _item(name, lsp.CompletionItemKind.Module, "module", order=_NEAR)


def _module_path(analysis: Analysis, module: str) -> Path | None:
    parts = [part for part in module.split(".") if part]
    own = analysis.path.parent
    searched = places(own, project_root(own)) if parts else ()
    paths = ((place, place.folder.joinpath(*parts).with_suffix(".rnet")) for place in searched)
    return next((path for place, path in paths if path.is_file() and place.allows(path)), None)


def _words(at: Cursor) -> Iterator[lsp.CompletionItem]:
    """Keywords that the grammar accepts, without those that could only be names here."""
    if at.follows is None:
        return
    accepted = at.follows.words
    if "NAME" in at.follows:
        accepted -= set(words.DECLARATIONS)
        if "FROM" not in at.follows:
            accepted -= set(words.STATEMENTS) - {"if", "for"}
    if at.among_sources():
        accepted &= {"input", "output"} if _texts(at)[0] == "shortcut" else {"input"}
    elif _is_key(at):
        accepted -= {"output", "table"}  # names to the grammar, but keys of nothing
    for word in sorted(accepted):
        yield _item(word, lsp.CompletionItemKind.Keyword, order=_WORDS)


# --------------------------------------------------------------------------------------- items


def _declared(module: Module, kinds: tuple[type[s.Decl], ...]) -> Iterator[lsp.CompletionItem]:
    for name, definition in module.names.items():
        if isinstance(definition.decl, kinds):
            own = _LIBRARY if definition.home.standard else _OWN
            yield _declaration(definition, own, name)


def _declaration(definition: Definition, order: str, name: str = "") -> lsp.CompletionItem:
    symbol = declared(definition)
    layer = isinstance(definition.decl, s.Network | s.Variant)
    kind = lsp.CompletionItemKind.Class if layer else lsp.CompletionItemKind.Function
    if isinstance(definition.decl, s.Const | s.Ambient):
        kind = lsp.CompletionItemKind.Constant
    detail = stands_for(symbol) or headline(symbol)
    return _item(name or symbol.name, kind, detail, doc_of(definition.decl), order)


def _one_line(param: s.Param) -> str:
    return " ".join(param.span.text.split())


def _item(
    label: str,
    kind: lsp.CompletionItemKind,
    detail: str = "",
    doc: str = "",
    order: str = _OWN,
) -> lsp.CompletionItem:
    return lsp.CompletionItem(
        label=label,
        kind=kind,
        detail=detail or None,
        documentation=lsp.MarkupContent(lsp.MarkupKind.Markdown, doc) if doc else None,
        sort_text=order + label,
    )


def signature_help(analysis: Analysis, offset: int) -> lsp.SignatureHelp | None:
    """The signature of the call that the cursor is in, with the parameter that comes next."""
    at = cursor(analysis.source, offset)
    call = None if at.in_comment else at.call()
    params = _called(analysis, at, call) if call is not None else ()
    if call is None or not params:
        return None
    rest = _open(params, call)
    active = at.argument() or (rest[0].name if rest else None)
    number = next((i for i, param in enumerate(params) if param.name == active), None)
    shown = [_one_line(param) for param in params]
    known = lsp.SignatureInformation(
        f"{call.callee}({', '.join(shown)})",
        parameters=[lsp.ParameterInformation(text) for text in shown],
    )
    return lsp.SignatureHelp([known], 0, number)
