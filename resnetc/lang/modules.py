"""Files and their imports: which declaration a name means in which file.

`use a.b { name }` names a file beside the one that is compiled, or else below the root of its
project, or else of the shipped zoo, whose own files name each other alone; `std.x` is always the
shipped standard library, `.x` a file beside the importing one. Only dotted names can be written, so
no path leaves the project, and a symbolic link that would is refused.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from resnetc import resources
from resnetc.diagnostics import (
    CompileError,
    Diagnostic,
    Help,
    Label,
    Source,
    Span,
    UsageError,
    suggest,
)
from resnetc.lang import syntax as s
from resnetc.lang.parser import parse
from resnetc.lang.roots import Place, beside, places, project_root, shipped

MAX_MODULES = 32
PRELUDE = ("std", "nn")
_Declared = dict[tuple[str, str], list[str]]
"""Modules by the word and the name of a declaration."""


@dataclass(eq=False)
class Module:
    """A file and the names it sees: the prelude's, the imported ones, its own."""

    path: Path
    file: s.File
    names: dict[str, Definition] = field(default_factory=dict)
    broken: set[str] = field(default_factory=set)
    """Names whose import failed; a use of one is not a second mistake."""
    imported: dict[str, Span] = field(default_factory=dict)
    """Where each imported name is written."""

    @property
    def ambients(self) -> tuple[str, ...]:
        """Names of the ambients that this file sees."""
        return tuple(n for n, d in self.names.items() if isinstance(d.decl, s.Ambient))

    @cached_property
    def standard(self) -> bool:
        """Whether this is a file of the shipped standard library."""
        return self.path.resolve().is_relative_to(_prelude_path().parent)

    @cached_property
    def shipped(self) -> bool:
        """Whether this file comes with the compiler."""
        return self.path.resolve().is_relative_to(resources.specs().resolve())

    @cached_property
    def neighbours(self) -> tuple[_Declared, ...]:
        """What the files around declare, those beside this file first."""
        shipped = resources.specs()
        folders = {".": self.path.parent, "": shipped, "std.": shipped / PRELUDE[0]}
        return tuple(_declared(prefix, path, self.path) for prefix, path in folders.items())

    def own(self, kind: type[s.Decl] | tuple[type[s.Decl], ...]) -> Iterator[Definition]:
        """Declarations of a kind that stand in this file, in order."""
        return (Definition(self, decl) for decl in self.file.decls if isinstance(decl, kind))


@dataclass(frozen=True, eq=False)
class Definition:
    """A declaration and the file it stands in."""

    home: Module
    decl: s.Decl


@dataclass
class Program:
    """A file with all it imports, and the mistakes in the imports."""

    entry: Module
    modules: dict[Path, Module]
    findings: list[Diagnostic]


def read_source(path: Path, name: str | None = None) -> Source:
    """The text of a spec. Raises UsageError when it cannot be read, CompileError when it is not
    UTF-8."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{name or path}: cannot be read: {error.strerror}") from error
    return decode_source(data, name or str(path))


def decode_source(data: bytes, name: str) -> Source:
    """The text of a spec. Raises CompileError when it is not UTF-8."""
    try:
        return Source(name, data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        source = Source(name, data.decode("utf-8", errors="replace"))
        at = len(data[: error.start].decode("utf-8", errors="replace"))
        label = Label(Span(source, at, at + 1), f"byte 0x{data[error.start]:02x}")
        raise CompileError(Diagnostic("E0109", "a spec is UTF-8 text", label)) from None


class Files:
    """Where imported files are read, and how files are parsed; an editor has texts of its own."""

    def exists(self, path: Path) -> bool:
        """Whether there is such a file."""
        return path.is_file()

    def read(self, path: Path, name: str) -> Source:
        """The text of an imported file; raises as :func:`read_source`."""
        return read_source(path, name)

    def parse(self, source: Source) -> s.File:
        """The syntax tree of a file; raises CompileError."""
        return parse(source)


def load_program(source: Source, path: Path, files: Files | None = None) -> Program:
    """The file and all it imports. Raises CompileError for a mistake of syntax in any of them."""
    loader = _Loader(path.parent, files or Files())
    entry = loader.load(source, path)
    return Program(entry, loader.modules, loader.findings)


class _Loader:
    def __init__(self, folder: Path, files: Files) -> None:
        self.folder = folder
        self.root = project_root(folder)
        self.files = files
        self.modules: dict[Path, Module] = {}
        self.findings: list[Diagnostic] = []
        self._loading: list[Path] = []

    def load(self, source: Source, path: Path) -> Module:
        module = Module(path, self.files.parse(source))
        self.modules[path.resolve()] = module
        self._loading.append(path.resolve())
        prelude = self._prelude(path)
        if prelude is not None:
            module.names.update(prelude.names)
        for use in module.file.uses:
            self._import(module, use)
        self._declare(module)
        self._loading.pop()
        return module

    def _prelude(self, path: Path) -> Module | None:
        """The prelude, unless this file belongs to what the prelude itself is made of."""
        prelude_path = _prelude_path()
        if path.resolve() == prelude_path:
            return None
        known = self.modules.get(prelude_path)
        if known is not None:
            return known
        return self.load(self.files.read(prelude_path, _shown(prelude_path)), prelude_path)

    def _declare(self, module: Module) -> None:
        """Enter the file's own names; they may hide the prelude's, but no imported one."""
        taken = dict(module.imported)
        is_prelude = module.path.resolve() == _prelude_path()
        for decl in module.file.decls:
            if decl.name in taken:
                first = Label(taken[decl.name], "first")
                message = f"`{decl.name}` is declared twice"
                self._report("E0206", message, decl.name_span, secondary=(first,))
            taken.setdefault(decl.name, decl.name_span)
            if isinstance(decl, s.Primitive) and not is_prelude:
                message = "only the standard library declares primitives"
                advice = Help("the compiler implements them; write a `block` of those there are")
                self._report("E0222", message, decl.name_span, advice=advice)
                module.broken.add(decl.name)
                continue
            module.names[decl.name] = Definition(module, decl)

    def _import(self, module: Module, use: s.Use) -> None:
        for imported in use.names:
            if imported.alias in module.imported:
                first = Label(module.imported[imported.alias], "first")
                message = f"`{imported.alias}` is imported twice"
                self._report("E0206", message, imported.span, secondary=(first,))
            module.imported.setdefault(imported.alias, imported.span)
            module.broken.add(imported.alias)
        path = self._find(module, use)
        if path is None:
            return
        target = self.modules.get(path.resolve())
        if path.resolve() in self._loading:
            names = [loading.stem for loading in self._loading]
            circle = [*names[self._loading.index(path.resolve()) :], path.stem]
            message = f"this import closes a circle: {' -> '.join(circle)}"
            self._report("E0209", message, use.module_span)
            return
        if target is None:
            if len(self.modules) >= MAX_MODULES:
                self._report(
                    "E0602", f"more than {MAX_MODULES} files are imported", use.module_span
                )
                return
            target = self.load(self.files.read(path, _shown(path)), path)
        for imported in use.names:
            self._import_name(module, target, imported)

    def _import_name(self, module: Module, target: Module, imported: s.ImportName) -> None:
        declared = {decl.name: decl for decl in target.file.decls}
        if imported.name not in declared:
            close = suggest(imported.name, declared)
            where = target.file.source.name
            advice = Help(f"{where} declares no such name")
            if close:
                start = imported.span.start
                span = Span(imported.span.source, start, start + len(imported.name))
                advice = Help(f"did you mean `{close}`?", span, close)
            message = f"{where} has no `{imported.name}` to import"
            self._report("E0208", message, imported.span, advice=advice)
            return
        module.names[imported.alias] = Definition(target, declared[imported.name])
        module.broken.discard(imported.alias)

    def _find(self, module: Module, use: s.Use) -> Path | None:
        """The imported file, or None with a report."""
        name = "." * use.dots + ".".join(use.parts)
        places = self._places(module, use)
        paths = [place.folder.joinpath(*use.parts).with_suffix(".rnet") for place in places]
        for place, path in zip(places, paths, strict=True):
            if self.files.exists(path):
                if not place.allows(path):
                    message = f"`{name}` is a link that leaves the project's folder"
                    self._report("E0210", message, use.module_span)
                    return None
                return path
        self._report_missing(name, use, paths)
        return None

    def _places(self, module: Module, use: s.Use) -> list[Place]:
        if use.dots == 1:
            return [beside(module.path.parent, self.root)]
        if use.dots > 1:
            return []
        if use.parts[0] == "std" or module.shipped:
            return [shipped()]
        return places(self.folder, self.root)

    def _report_missing(self, name: str, use: s.Use, paths: list[Path]) -> None:
        close = suggest(
            use.parts[-1], {p.stem for path in paths for p in path.parent.glob("*.rnet")}
        )
        whole, advice = use.module_span, None
        if close and whole.text.endswith(use.parts[-1]):
            last = Span(whole.source, whole.end - len(use.parts[-1]), whole.end)
            advice = Help(f"did you mean `{close}`?", last, close)
        notes = (f"looked for {', '.join(map(_shown, paths))}",) if paths else ()
        self._report("E0207", f"there is no module `{name}`", whole, notes=notes, advice=advice)

    def _report(
        self,
        code: str,
        message: str,
        span: Span,
        *,
        secondary: tuple[Label, ...] = (),
        notes: tuple[str, ...] = (),
        advice: Help | None = None,
    ) -> None:
        self.findings.append(Diagnostic(code, message, Label(span), secondary, notes, advice))


_DECLARED = re.compile(r"^(network|block|shortcut|fn|const)\s+(\w+)", re.M)
_KINDS: dict[str, tuple[type[s.Decl], ...]] = {
    "network": (s.Network, s.Variant),
    "block": (s.Block,),
    "shortcut": (s.Shortcut,),
    "fn": (s.Function,),
    "const": (s.Const,),
}


def elsewhere(name: str, home: Module, kinds: tuple[type[s.Decl], ...]) -> list[str]:
    """Modules beside this file, or else of the shipped ones, that declare a name as one of these
    kinds; the likeliest first."""
    words = [word for word, made in _KINDS.items() if set(made) & set(kinds)]
    for found in home.neighbours:
        modules = [module for word in words for module in found.get((word, name), ())]
        if modules:
            return modules
    return []


def _declared(prefix: str, folder: Path, home: Path) -> _Declared:
    """What the modules of a folder declare; they are not parsed."""
    found: _Declared = {}
    own = (home.resolve(), _prelude_path())
    paths = (path for path in folder.glob("*.rnet") if path.stem.isidentifier())
    for path in sorted(paths, key=lambda path: (len(path.stem), path))[:100]:
        if path.resolve() not in own:
            with contextlib.suppress(OSError):
                text = path.read_text(encoding="utf-8", errors="replace")
                for declared in dict.fromkeys(_DECLARED.findall(text)):
                    found.setdefault(declared, []).append(prefix + path.stem)
    return found


def _prelude_path() -> Path:
    return resources.specs().joinpath(*PRELUDE).with_suffix(".rnet").resolve()


def _shown(path: Path) -> str:
    """How messages name a file: a shipped one as `specs/...`, any other by its path."""
    try:
        behind = Path(os.path.realpath(path))  # not `resolve`, which fails for links in a circle
        return str(Path("specs") / behind.relative_to(resources.specs().resolve()))
    except ValueError:
        return str(path)
