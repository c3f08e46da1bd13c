"""A declaration explained: its signature, what its author says of it, and where it stands."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from resnetc import resources
from resnetc.diagnostics import UsageError, suggest
from resnetc.lang import syntax as s
from resnetc.lang.bind import signature
from resnetc.lang.modules import PRELUDE, Definition, Module, load_program, read_source
from resnetc.lang.values import show_type
from resnetc.lsp.docs import BUILTINS, doc_of
from resnetc.zoo import find, networks

_NOUNS: dict[type[s.Decl], str] = {
    s.Block: "a block",
    s.Shortcut: "a shortcut policy",
    s.Primitive: "a primitive",
    s.Function: "a function",
    s.Ambient: "an ambient",
    s.Const: "a constant",
}
_DECLARED = r"(?m)^(?:block|shortcut|fn|ambient|const)\s+{}\b"


def find_declarations(subject: str) -> list[Definition]:
    """What `NAME` or `FILE:NAME` declares that is no network, the likeliest first; a bare name is
    one of the standard library or of the shipped specs."""
    file, separator, name = subject.rpartition(".rnet:")
    if separator:
        names = _module(find(f"{file}.rnet").path, f"{file}.rnet").names
        return [names[name]] if name in names and type(names[name].decl) in _NOUNS else []
    if not subject.isidentifier():
        return []
    zoo = sorted(_in_zoo(subject), key=lambda found: not doc_of(found.decl))
    return [*_in_prelude(subject), *zoo]


def is_builtin(subject: str) -> bool:
    """Whether a name is one of the language itself."""
    return subject in BUILTINS


def unknown(subject: str) -> UsageError:
    """The error of a bare name that means nothing anywhere."""
    declared = re.compile(_DECLARED.format(r"(\w+)"))
    texts = (path.read_text(encoding="utf-8") for path in resources.specs().glob("*.rnet"))
    zoo = [name for text in texts for name in declared.findall(text)]
    known = [*networks(), *_prelude().names, *BUILTINS, *zoo]
    close = suggest(subject, known)
    hint = f"; did you mean `{close}`?" if close else ""
    return UsageError(f"there is no network, layer or function `{subject}` in the zoo{hint}")


def _prelude() -> Module:
    return _module(_prelude_path(), f"specs/{'/'.join(PRELUDE)}.rnet")


def _prelude_path() -> Path:
    return resources.specs().joinpath(*PRELUDE).with_suffix(".rnet")


def _module(path: Path, shown: str) -> Module:
    return load_program(read_source(path, shown), path).entry


def _in_prelude(name: str) -> Iterator[Definition]:
    definition = _prelude().names.get(name)
    if definition is not None:
        yield definition


def _in_zoo(name: str) -> Iterator[Definition]:
    """Declarations of the shipped specs; only files that have one are parsed."""
    declared = re.compile(_DECLARED.format(re.escape(name)))
    paths = resources.specs().glob("*.rnet")
    for path in sorted(paths, key=lambda path: (len(path.stem), path)):
        if declared.search(path.read_text(encoding="utf-8")):
            yield _module(path, f"specs/{path.name}").names[name]


# ------------------------------------------------------------------------------------------- text


def builtin_text(name: str) -> str:
    """What a name of the language means."""
    return f"{name}: of the language itself\n\n{_wrapped(BUILTINS[name])}"


def declaration_text(found: Sequence[Definition]) -> str:
    """The first of some declarations, and where the others are."""
    decl = found[0].decl
    lines = [f"{decl.name}: {_NOUNS[type(decl)]}, {_place(decl)}", "", f"  {_headline(decl)}"]
    if doc := doc_of(decl):
        lines += ["", textwrap.indent(doc, "  ")]
    if len(found) > 1:
        others = ", ".join(f"{d.decl.span.source.name}:{d.decl.name}" for d in found[1:])
        lines += ["", f"  also {others}"]
    return "\n".join(lines)


def _headline(decl: s.Decl) -> str:
    if isinstance(decl, s.Function):
        return f"{signature(decl)} -> {show_type(decl.returns)}"
    if isinstance(decl, s.Callable):
        return signature(decl)
    return " ".join(decl.span.text.split())


def _place(decl: s.Decl) -> str:
    return f"{decl.span.source.name}:{decl.name_span.line}"


def _wrapped(text: str) -> str:
    return textwrap.fill(text, 96, initial_indent="  ", subsequent_indent="  ")


# ------------------------------------------------------------------------------------------- JSON


def builtin_document(name: str) -> dict[str, Any]:
    """What a name of the language means, for machines."""
    return {"name": name, "kind": "builtin", "doc": BUILTINS[name]}


def declaration_document(found: Sequence[Definition]) -> dict[str, Any]:
    """The first of some declarations, and where the others are, for machines."""
    decl = found[0].decl
    return {
        "name": decl.name,
        "kind": _NOUNS[type(decl)].split(" ", 1)[1],
        "signature": _headline(decl),
        "doc": doc_of(decl),
        "written": _written(decl),
        "also": [_written(other.decl) for other in found[1:]],
    }


def _written(decl: s.Decl) -> dict[str, Any]:
    return {"file": decl.span.source.name, "line": decl.name_span.line}
