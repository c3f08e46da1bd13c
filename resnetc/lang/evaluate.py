"""Expressions to values: strict, total, within budgets checked before the work."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from resnetc.diagnostics import Span
from resnetc.lang import syntax as s
from resnetc.lang.bind import bind_arguments, misplaced_argument
from resnetc.lang.budget import CALL, Budget
from resnetc.lang.builtins import FUNCTIONS, Unfit
from resnetc.lang.convert import checked
from resnetc.lang.mistake import Mistake, Poisoned
from resnetc.lang.modules import Definition, Module
from resnetc.lang.operators import COMPARE, METRICS, arithmetic, condition, finite, join_lists
from resnetc.lang.signatures import with_arguments
from resnetc.lang.tables import misfit, record
from resnetc.lang.unknown_names import unknown_attribute, unknown_name
from resnetc.lang.values import (
    Bound,
    Function,
    Layer,
    NetworkValue,
    Poison,
    Policy,
    Range,
    TensorList,
    Word,
    a_type,
    attribute,
    show,
    type_name,
)
from resnetc.lang.watch import Watch
from resnetc.recipes import DATA_SETS, WORDS

_SHOWN = 60
"""Characters of arguments that a message shows."""
RECIPE_WORDS = frozenset({*WORDS, *DATA_SETS, *METRICS})


@dataclass(slots=True)
class Env:
    """Names in force at a place: locals here and around it, and the ambients' bindings."""

    home: Module
    names: dict[str, object] = field(default_factory=dict)
    ambients: dict[str, object] = field(default_factory=dict)
    parent: Env | None = None
    recipe: bool = False
    given: dict[str, Span] = field(default_factory=dict)
    """Where the parameters were given that were not left to their defaults."""

    def child(self) -> Env:
        """A nested body: sees everything here, keeps its own `let` and `set` to itself."""
        return Env(self.home, {}, self.ambients, self, self.recipe, self.given)

    def find(self, name: str) -> tuple[bool, object]:
        env: Env | None = self
        while env is not None:
            if name in env.names:
                return True, env.names[name]
            env = env.parent
        return False, None


class Evaluator:
    """Evaluates expressions. One per compilation, so that budgets and constants are shared."""

    def __init__(self) -> None:
        self.budget = Budget()
        # By identity: comparing declarations would compare whole trees.
        self._constants: dict[int, object] = {}
        self._active: list[s.Decl] = []
        # Ambients by name and identity of the value that was in force.
        self.ambients_read: set[tuple[str, int]] = set()
        self.watch = Watch()
        self._by_type: dict[type[s.Expr], Callable[[Any, Env], object]] = {
            s.Literal: self._literal,
            s.Template: self._template,
            s.Name: self._name,
            s.Attr: self._attr,
            s.Index: self._index,
            s.Slice: self._slice,
            s.Apply: self._apply,
            s.ListExpr: self._list,
            s.Comprehension: self._comprehension,
            s.Table: self._table,
            s.Unary: self._unary,
            s.Binary: self._binary,
            s.Cond: self._cond,
        }

    def __call__(self, expr: s.Expr, env: Env) -> object:
        """The value. Raises Mistake or Poisoned."""
        self.budget.spend(expr.span)
        self.budget.enter(expr.span)
        try:
            return self._by_type[type(expr)](expr, env)
        finally:
            self.budget.levels -= 1

    def typed(self, expr: s.Expr, env: Env, wanted: type, what: str) -> Any:
        """The value of an expression that must be of a Python type; bool is never an int."""
        value = self(expr, env)
        is_bool = isinstance(value, bool)
        if isinstance(value, wanted) and (wanted is bool or not is_bool):
            return value
        raise Mistake("E0301", f"expected {what}, found {type_name(value)}", expr.span)

    def arguments(self, args: tuple[s.Arg, ...], env: Env) -> tuple[Bound, ...]:
        """The arguments of a call, evaluated in order."""
        problem = misplaced_argument(args)
        if problem is not None:
            raise Mistake.of(problem)
        call = id(args)
        return tuple(Bound(a.name, self(a.value, env), a.value.span, a.span, call) for a in args)

    # ---- literals and names

    def _literal(self, expr: s.Literal, env: Env) -> object:
        return expr.value

    def _template(self, expr: s.Template, env: Env) -> str:
        text = ""
        for part in expr.parts:
            value = part if isinstance(part, str) else self(part, env)
            self.budget.value(value, expr.span)
            text += value if isinstance(value, str) else show(value)
            self.budget.string(len(text), expr.span)
        return text

    def _name(self, expr: s.Name, env: Env) -> object:
        found, value = env.find(expr.name)
        if found:
            if isinstance(value, Poison):
                raise Poisoned
            return value
        if env.recipe and expr.name in RECIPE_WORDS:
            return Word(expr.name, (), expr.span)
        definition = env.home.names.get(expr.name)
        if definition is not None:
            return self._defined(definition, env, expr.span)
        if expr.name in FUNCTIONS:
            return Function(expr.name)
        if env.recipe:
            return Word(expr.name, (), expr.span)
        if expr.name in env.home.broken:
            raise Poisoned
        raise unknown_name(expr.name, expr.span, env.home)

    def _defined(self, definition: Definition, env: Env, span: Span) -> object:
        decl, home = definition.decl, definition.home
        if isinstance(decl, s.Ambient):
            return self.ambient(decl, home, env)
        if isinstance(decl, s.Const):
            return self._constant(decl, home, span)
        if isinstance(decl, s.Function):
            return Function(decl.name, decl, home)
        if isinstance(decl, s.Primitive | s.Block):
            return Layer(decl, home)
        if isinstance(decl, s.Shortcut):
            return Policy(decl, home)
        if isinstance(decl, s.Network | s.Variant):
            return NetworkValue(decl, home)
        assert isinstance(decl, s.Section | s.SectionVariant)
        raise Mistake("E0211", f"`{decl.name}` is {decl.noun}, not a value", span)

    def ambient(self, decl: s.Ambient, home: Module, env: Env) -> object:
        """What an ambient is bound to here."""
        if decl.name in env.ambients:
            value = env.ambients[decl.name]
            self.ambients_read.add((decl.name, id(value)))
            return value
        return self._constant(decl, home, decl.name_span)

    def _constant(self, decl: s.Const | s.Ambient, home: Module, span: Span) -> object:
        """The value of a constant, or what an ambient is bound to at first; computed once."""
        if id(decl) not in self._constants:
            with self._entered(decl, span):
                value = self(decl.value, Env(home))
            if decl.type is not None:
                value = checked(value, decl.type, decl.value.span)
            self._constants[id(decl)] = value
        return self._constants[id(decl)]

    @contextlib.contextmanager
    def _entered(self, decl: s.Decl, span: Span) -> Iterator[None]:
        """Refuse a function or constant that is being evaluated already."""
        if any(active is decl for active in self._active):
            circle = " -> ".join(d.name for d in [*self._active, decl])
            message = f"`{decl.name}` is defined by itself"
            note = "functions, constants and ambients may not recurse"
            raise Mistake("E0408", message, span, circle, notes=(note,))
        self._active.append(decl)
        try:
            yield
        finally:
            self._active.pop()

    # ---- access

    def _attr(self, expr: s.Attr, env: Env) -> object:
        base = self(expr.base, env)
        try:
            return attribute(base, expr.name)
        except KeyError:
            raise unknown_attribute(expr, base) from None

    def _index(self, expr: s.Index, env: Env) -> object:
        items = self.items(expr.base, env)
        index = self.typed(expr.index, env, int, "int")
        if not -len(items) <= index < len(items):
            message = f"index {index} is outside a list of {len(items)}"
            raise Mistake("E0303", message, expr.index.span)
        return items[index]

    def _slice(self, expr: s.Slice, env: Env) -> object:
        items = self.items(expr.base, env)
        start = 0 if expr.start is None else self.typed(expr.start, env, int, "int")
        stop = len(items) if expr.stop is None else self.typed(expr.stop, env, int, "int")
        return items[start:stop]

    def items(self, expr: s.Expr, env: Env) -> list[object]:
        """The items of a list or range, as a Python list within the budget."""
        value = self(expr, env)
        items = value.items if isinstance(value, TensorList) else value
        if not isinstance(items, list | Range):
            raise Mistake("E0301", f"expected list, found {type_name(value)}", expr.span)
        self.budget.length(len(items), expr.span)
        return list(items)

    # ---- calls

    def _apply(self, expr: s.Apply, env: Env) -> object:
        callee = self(expr.callee, env)
        if isinstance(callee, Word):
            return replace(callee, bound=self.arguments(expr.args, env), span=expr.span)
        bound = self.arguments(expr.args, env)
        if isinstance(callee, Layer):
            return with_arguments(callee, bound)
        if isinstance(callee, Policy | NetworkValue):
            return replace(callee, bound=callee.bound + bound)
        if isinstance(callee, Function):
            return self._call(callee, bound, expr.span)
        raise Mistake("E0304", f"{a_type(callee)} cannot be called", expr.callee.span)

    def _call(self, function: Function, bound: tuple[Bound, ...], span: Span) -> object:
        decl, home = function.declaration, function.home
        if decl is None or home is None:
            return self._call_builtin(function.name, bound, span)
        self.budget.spend(span, CALL)
        with self._entered(decl, span):
            env = Env(home)
            self.bind(decl, bound, env, span)
            for let in decl.lets:
                self.let(let, env)
            return checked(self(decl.result, env), decl.returns, decl.result.span)

    def _call_builtin(self, name: str, bound: tuple[Bound, ...], span: Span) -> object:
        if any(arg.name is not None for arg in bound):
            raise Mistake("E0203", f"`{name}` takes no named arguments", span)
        values = [b.value.items if isinstance(b.value, TensorList) else b.value for b in bound]
        for value, arg in zip(values, bound, strict=True):
            if isinstance(value, list | Range):
                self.budget.length(len(value), arg.span)
        values = [list(value) if isinstance(value, Range) else value for value in values]
        try:
            result = FUNCTIONS[name](*values)
        except Unfit as error:
            shown = ", ".join(map(show, values))
            message = f"`{name}({shown if len(shown) <= _SHOWN else '...'})` has no value"
            raise Mistake("E0305", message, span, str(error)) from None
        except (TypeError, ValueError, OverflowError):
            shown = ", ".join(type_name(value) for value in values)
            raise Mistake("E0305", f"`{name}` cannot take ({shown})", span) from None
        self.budget.value(result, span)
        return finite(result, span)

    def bind(
        self,
        decl: s.Callable,
        bound: tuple[Bound, ...],
        env: Env,
        span: Span,
    ) -> dict[str, Span]:
        """Bind a call's arguments to a declaration's parameters in `env`; defaults are evaluated
        there, so that they see the parameters before them. Returns where each was written."""
        given, problem = bind_arguments(decl, bound, span)
        if problem is not None:
            raise Mistake.of(problem)
        if self.watch:
            self.watch.placed(bound, given)
        where: dict[str, Span] = {}
        for param in decl.params:
            if param.name in given:
                argument = given[param.name]
                value, place = argument.value, argument.span
                env.given[param.name] = place
            else:
                assert param.default is not None
                value, place = self(param.default, env), param.default.span
            self.budget.value(value, place)
            env.names[param.name] = checked(value, param.type, place)
            where[param.name] = place
        return where

    def let(self, let: s.Let, env: Env) -> None:
        """Bind the targets of a `let`."""
        self.assign(let.targets, self(let.value, env), env, let.value.span)

    def assign(self, targets: tuple[str, ...], value: object, env: Env, span: Span) -> None:
        """Bind one target, or destructure a list over several."""
        if len(targets) == 1:
            env.names[targets[0]] = value
            return
        if not isinstance(value, list) or len(value) != len(targets):
            found = f"a list of {len(value)}" if isinstance(value, list) else type_name(value)
            raise Mistake("E0306", f"{len(targets)} names cannot take {found}", span)
        env.names.update(zip(targets, value, strict=True))

    # ---- lists

    def _list(self, expr: s.ListExpr, env: Env) -> list[object]:
        made = [self(item, env) for item in expr.items]
        self.budget.value(made, expr.span)
        return made

    def _comprehension(self, expr: s.Comprehension, env: Env) -> list[object]:
        inner = env.child()
        result = []
        for item in self.items(expr.iterable, env):
            self.assign(expr.targets, item, inner, expr.iterable.span)
            if expr.condition is None or self.typed(expr.condition, inner, bool, "bool"):
                result.append(self(expr.item, inner))
        self.budget.value(result, expr.span)
        return result

    def _table(self, expr: s.Table, env: Env) -> list[object]:
        problem = misfit(expr)
        if problem is not None:
            raise Mistake.of(problem)
        made: list[object] = [
            record(expr, [self(cell, env) for cell in row.items]) for row in expr.rows
        ]
        self.budget.value(made, expr.span)
        return made

    # ---- operators

    def _cond(self, expr: s.Cond, env: Env) -> object:
        test = self.typed(expr.test, env, bool, "bool")
        return self(expr.yes if test else expr.no, env)

    def _unary(self, expr: s.Unary, env: Env) -> object:
        if expr.operator == "not":
            return not self.typed(expr.operand, env, bool, "bool")
        value = self(expr.operand, env)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise Mistake("E0307", f"`-` cannot take {type_name(value)}", expr.span)
        return -value

    def _binary(self, expr: s.Binary, env: Env) -> object:
        if expr.operator in ("and", "or"):
            left = self.typed(expr.left, env, bool, "bool")
            if left is (expr.operator == "or"):
                return left
            return self.typed(expr.right, env, bool, "bool")
        left, right = self(expr.left, env), self(expr.right, env)
        if isinstance(left, Word) and (left.name in METRICS or expr.operator in COMPARE):
            return condition(expr, left, right)
        if expr.operator in ("==", "!="):
            self.budget.value(left, expr.span)
            same = isinstance(left, bool) is isinstance(right, bool) and left == right
            return same is (expr.operator == "==")
        if isinstance(left, list) and isinstance(right, list | int):
            return join_lists(expr, left, right, self.budget)
        operands = (left, right)
        if any(isinstance(v, bool) or not isinstance(v, int | float) for v in operands):
            shown = f"{type_name(left)} and {type_name(right)}"
            raise Mistake("E0307", f"`{expr.operator}` cannot take {shown}", expr.span)
        assert isinstance(left, int | float)
        assert isinstance(right, int | float)
        return arithmetic(expr, left, right)
