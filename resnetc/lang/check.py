"""Mistakes that can be seen without running anything: names and calls, in every declaration.

Elaboration finds the rest, but only in what is elaborated; a template or block that nothing uses
yet is checked here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from resnetc.diagnostics import Diagnostic, Help, Label, Span, suggest
from resnetc.lang import syntax as s
from resnetc.lang.bind import bind_arguments, misplaced_argument
from resnetc.lang.budget import room
from resnetc.lang.builtins import FUNCTIONS
from resnetc.lang.evaluate import Env, Evaluator
from resnetc.lang.mistake import Mistake, Poisoned
from resnetc.lang.modules import Module
from resnetc.lang.signatures import SIGNED
from resnetc.lang.structures import STRUCTURES
from resnetc.lang.tables import misfit
from resnetc.lang.unknown_names import HOLDER, LAYER, TENSOR, VALUE, Wanted, of_label, unknown_name
from resnetc.lang.values import TYPES, Bound

_IN_BLOCK = frozenset({"input", "here"})
_IN_POLICY = frozenset({"input", "output", "here", "stride", "changed"})
_IN_REPEAT = frozenset({"index", "first", "last"})
_TYPES = dict.fromkeys(("input", "output", "here"), "tensor")
_TYPES |= {"index": "int", "first": "bool", "last": "bool", "stride": "int", "changed": "bool"}
"""Types of the names that bodies are given."""


def check_module(module: Module) -> list[Diagnostic]:
    """Every such mistake in a file's own declarations, in source order."""
    checker = _Checker(module)
    for decl in module.file.decls:
        checker.declaration(decl)
    checker.constants()
    return sorted(checker.findings, key=lambda found: found.primary.span.start)


class _Checker:
    def __init__(self, module: Module) -> None:
        self.module = module
        self.findings: list[Diagnostic] = []
        # Parameters of the declaration at hand that say how they will be placed.
        self._signed: dict[str, s.Callable] = {}
        # Types of the local names of the declaration at hand, where they are plain.
        self._types: dict[str, str] = {}
        self._bodies: list[s.Body] = []

    def declaration(self, decl: s.Decl) -> None:
        if decl.name in STRUCTURES:
            message = f"`{decl.name}` is a structure of the language and cannot be declared"
            self.report("E0220", message, decl.name_span)
        self._types = dict(_TYPES)
        local = self.parameters(decl) if isinstance(decl, s.Callable) else set()
        if isinstance(decl, s.Network | s.Block):
            self.body(decl.body, local)
        elif isinstance(decl, s.Shortcut):
            self.branches(decl.branches, local | _IN_POLICY)
        elif isinstance(decl, s.Function):
            self.type(decl.returns)
            for let in decl.lets:
                self.expression(let.value, local)
                local |= set(let.targets)
            self.expression(decl.result, local)
        elif isinstance(decl, s.Const | s.Ambient):
            self.expression(decl.value, local)
        elif isinstance(decl, s.Variant):
            self.settings(decl.derivation.settings)
            for fact in decl.facts:
                self.statement(fact, local)

    @room()
    def constants(self) -> None:
        """Evaluate what depends on no network."""
        evaluate = Evaluator()
        for definition in self.module.own((s.Const, s.Ambient)):
            decl = definition.decl
            try:
                evaluate(s.Name(decl.name_span, decl.name), Env(self.module))
            except Mistake as mistake:
                self.findings.append(mistake.diagnostic)
            except Poisoned:
                pass

    def parameters(self, decl: s.Callable) -> set[str]:
        """Check the parameters; returns the names that the declaration's body sees."""
        local: set[str] = set()
        self._signed = {param.name: signed for param in decl.params if (signed := _signed(param))}
        for param in decl.params:
            self.type(param.type)
            if param.name in local:
                self.report("E0206", f"`{param.name}` is declared twice", param.span)
            local.add(param.name)
            self._types[param.name] = param.type.name
        if isinstance(decl, s.Block | s.Network):
            local |= _IN_BLOCK
        for param in decl.params:
            self.expression(param.default, local)
        return local

    def report(self, code: str, message: str, span: Span, *secondary: Label) -> None:
        self.findings.append(Diagnostic(code, message, Label(span), secondary))

    def settings(self, settings: tuple[s.Setting, ...]) -> None:
        """Refuse a key that is set twice in one place."""
        first: dict[str, Span] = {}
        for setting in settings:
            if setting.name in first:
                where = Label(first[setting.name], "first")
                message = f"`{setting.name}` is set twice"
                self.report("E0218", message, setting.name_span, where)
            first.setdefault(setting.name, setting.name_span)

    def targets(self, targets: tuple[str, ...], span: Span) -> None:
        if len(set(targets)) < len(targets):
            self.report("E0206", "one name stands twice among these", span)
        self.hide(targets)

    def hide(self, names: Iterable[str]) -> None:
        """What has these names from here on is no longer what was declared."""
        for name in names:
            self._signed.pop(name, None)
            self._types.pop(name, None)

    def type(self, type_: s.TypeExpr) -> None:
        if type_.name not in TYPES or (type_.name == "list") != (type_.item is not None):
            close = suggest(type_.name, TYPES)
            advice = None
            if close and close != type_.name:
                advice = Help(f"did you mean `{close}`?", type_.span, close)
            known = f"types are {', '.join(sorted(TYPES - {'list'}))} and list[...]"
            message = f"there is no type `{type_.name}`"
            label = Label(type_.span)
            self.findings.append(Diagnostic("E0216", message, label, (), (known,), advice))
        if type_.item is not None:
            self.type(type_.item)
        if type_.params is not None:
            self.signature(type_, type_.params)

    def signature(self, type_: s.TypeExpr, params: tuple[s.Param, ...]) -> None:
        """Check the parameters of a type such as `block(width: int)`."""
        if type_.name not in SIGNED:
            message = f"`{type_.name}` takes no parameters"
            self.report("E0216", message, type_.span)
        names: set[str] = set()
        for param in params:
            self.type(param.type)
            if param.name in names:
                self.report("E0206", f"`{param.name}` is declared twice", param.span)
            names.add(param.name)
            if param.default is not None and type_.name in ("table", "record"):
                self.report("E0216", "a column has no default", param.default.span)
            self.expression(param.default, set())

    # ---- statements: `local` grows as names are bound

    def body(self, body: s.Body, local: set[str]) -> None:
        self._bodies.append(body)
        for statement in body.statements:
            self.statement(statement, local)
        self._bodies.pop()

    def statement(self, statement: s.Stmt, local: set[str]) -> None:
        if isinstance(statement, s.Chain):
            for step in statement.steps:
                self.step(step, local)
        elif isinstance(statement, s.Aux):
            self.statement(statement.chain, _nested(local))
        elif isinstance(statement, s.Let):
            self.expression(statement.value, local)
            self.targets(statement.targets, statement.span)
            local.update(statement.targets)
        elif isinstance(statement, s.If):
            self.expression(statement.test, local)
            for branch in (statement.then, statement.orelse):
                if branch is not None:
                    self.body(branch, _nested(local))
        elif isinstance(statement, s.For):
            self.expression(statement.iterable, local)
            self.targets(statement.targets, statement.span)
            self.body(statement.body, local | set(statement.targets))
        else:
            if isinstance(statement, s.Set | s.Meta):
                self.settings(statement.settings)
                self.hide(setting.name for setting in statement.settings)
            wanted = TENSOR if isinstance(statement, s.OutputStmt) else VALUE
            for expr in _expressions(statement):
                self.expression(expr, local, wanted)

    def step(self, step: s.Step, local: set[str]) -> None:
        inside = local | _IN_REPEAT if step.repeat is not None else local
        self.expression(step.label, inside)
        self.expression(step.repeat, local)
        if isinstance(step.core, s.From):
            for value in step.core.values:
                self.expression(value, local, TENSOR)
        elif isinstance(step.core, s.Reuse):
            self.expression(step.core.label, local)
        else:
            self.call(step.core, inside)
        for bind in step.binds:
            self.hide((bind.name,))
            self._types[bind.name] = "list" if bind.append else "tensor"
            local.add(bind.name)

    def call(self, call: s.Call, local: set[str]) -> None:
        self.arguments(call.args, local)
        if call.body is not None:
            self.body(call.body, _nested(local))
        self.branches(call.branches or (), local)
        if call.name in STRUCTURES:
            return
        self.expression(s.Name(call.name_span, call.name), local, LAYER)
        signed = self._signed.get(call.name) if call.name in local else None
        if signed is not None:
            self.fit(signed, call)
        definition = None if call.name in local else self.module.names.get(call.name)
        if definition is not None and isinstance(definition.decl, s.Primitive | s.Block):
            self.fit(definition.decl, call)

    def arguments(self, args: tuple[s.Arg, ...], local: set[str]) -> None:
        problem = misplaced_argument(args)
        if problem is not None:
            self.findings.append(Mistake.of(problem).diagnostic)
        for arg in args:
            self.expression(arg.value, local)

    def fit(self, decl: s.Callable, call: s.Call) -> None:
        bound = tuple(Bound(a.name, None, a.value.span, a.span, id(call)) for a in call.args)
        _, problem = bind_arguments(decl, bound, call.span)
        if problem is not None:
            self.findings.append(Mistake.of(problem).diagnostic)

    def branches(self, branches: tuple[s.Branch, ...], local: set[str]) -> None:
        for branch in branches:
            inner = set(local)
            if branch.guard is not None:
                self.expression(branch.guard.iterable, local)
                inner |= set(branch.guard.targets)
                self.hide(branch.guard.targets)
                self.expression(branch.guard.test, inner)
            self.body(branch.body, inner)

    # ---- expressions

    def expression(self, expr: s.Expr | None, local: set[str], wanted: Wanted = VALUE) -> None:
        """Check an expression, whose value is to be something that fits the place."""
        if expr is None:
            return
        if isinstance(expr, s.Name):
            self.name(expr, local, wanted)
        elif isinstance(expr, s.Attr):
            self.expression(expr.base, local, HOLDER)
        elif isinstance(expr, s.Index):
            self.expression(expr.base, local, wanted)
            self.expression(expr.index, local)
        elif isinstance(expr, s.Comprehension):
            self.expression(expr.iterable, local)
            self.targets(expr.targets, expr.span)
            inner = local | set(expr.targets)
            self.expression(expr.condition, inner)
            self.expression(expr.item, inner)
        elif isinstance(expr, s.Table):
            self.table(expr, local)
        elif isinstance(expr, s.Apply):
            self.expression(expr.callee, local)
            self.arguments(expr.args, local)
        else:
            for child in _expressions(expr):
                self.expression(child, local)

    def table(self, table: s.Table, local: set[str]) -> None:
        problem = misfit(table)
        if problem is not None:
            self.findings.append(Mistake.of(problem).diagnostic)
        for row in table.rows:
            self.expression(row, local)

    def name(self, expr: s.Name, local: set[str], wanted: Wanted) -> None:
        module = self.module
        if any(expr.name in names for names in (local, module.names, FUNCTIONS, module.broken)):
            return
        step = self.labelled(expr) if wanted in (TENSOR, HOLDER) else None
        if step is not None:
            output = any(expr in _listed(statement) for statement in self._bodies[0].statements)
            mistake = of_label(expr.name, expr.span, step, output=output)
        else:
            fitting = {name for name in local if wanted.takes(self._types.get(name))}
            mistake = unknown_name(expr.name, expr.span, module, wanted, fitting)
        self.findings.append(mistake.diagnostic)

    def labelled(self, expr: s.Name) -> s.Step | None:
        """The row before a name that has it for a label, where a name bound on that row would be
        in force."""
        for body in reversed(self._bodies):
            for statement in reversed(body.statements):
                for step in statement.steps if isinstance(statement, s.Chain) else ():
                    label = step.label.value if isinstance(step.label, s.Literal) else None
                    if label == expr.name and step.span.end <= expr.span.start:
                        return step
        return None


def _listed(statement: s.Stmt) -> tuple[s.Expr, ...]:
    """What an `output` gives."""
    return statement.values if isinstance(statement, s.OutputStmt) else ()


def _signed(param: s.Param) -> s.Callable | None:
    """What a parameter such as `unit: block(width: int)` can be called with."""
    type_ = param.type
    if type_.params is None or type_.name not in ("block", "layer"):
        return None
    return s.Callable(type_.span, param.name, param.span, type_.params)


def _nested(local: set[str]) -> set[str]:
    """Names bound in a nested body stay there."""
    return set(local)


def _expressions(node: object) -> Iterator[s.Expr]:
    """Direct sub-expressions of a node, through arguments and settings."""
    assert hasattr(node, "__slots__")
    for field in node.__slots__:
        value = getattr(node, field)
        for item in value if isinstance(value, tuple) else (value,):
            if isinstance(item, s.Expr):
                yield item
            elif isinstance(item, s.Arg | s.Setting):
                yield item.value
