"""Lark's tree to records of the syntax tree."""

from __future__ import annotations

import builtins
import re
from collections.abc import Callable
from typing import Any

import lark
from lark.tree import Meta as TreeMeta
from lark.visitors import Transformer_NonRecursive, v_args

from resnetc.diagnostics import CompileError, Diagnostic, Label, Source, Span
from resnetc.lang import syntax as s

Items = list[Any]
Embedded = Callable[[Source, str, str, int], object]
"""Parses an expression inside a string: source, start rule, text, offset."""

_TEMPLATE_PART = re.compile(r"\\(?P<escape>.)|\{(?P<expr>[^{}]*)\}|(?P<text>[^\\{}]+)|(?P<stray>.)")
_ESCAPES = {"n": "\n", "t": "\t"}
EDITION = 1
"""Fixes the grammar, the standard library's names and the defaults."""


@v_args(meta=True)
class TreeBuilder(Transformer_NonRecursive):  # type: ignore[type-arg]
    """Makes records of lark's tree, bottom up and without recursion.

    `offset` is where the tree's text stands in the source; `embedded` parses the expressions
    inside strings. Methods carry the names of the grammar's rules.
    """

    def __init__(self, source: Source, offset: int, embedded: Embedded) -> None:
        super().__init__(visit_tokens=False)
        self._parse_embedded = embedded
        self._source = source
        self._offset = offset

    # ---- places

    def _span(self, meta: TreeMeta) -> Span:
        if meta.empty:
            return Span(self._source, self._offset, self._offset)
        start, end = meta.start_pos + self._offset, meta.end_pos + self._offset
        return Span(self._source, start, end)

    def _token_span(self, token: lark.Token) -> Span:
        assert token.start_pos is not None
        assert token.end_pos is not None
        return Span(self._source, token.start_pos + self._offset, token.end_pos + self._offset)

    # ---- file and declarations

    def start(self, meta: TreeMeta, items: Items) -> s.File:
        edition = items.pop(0) if items and isinstance(items[0], int) else None
        if items and items[0] is None:
            items.pop(0)
        uses = tuple(item for item in items if isinstance(item, s.Use))
        decls = tuple(item for item in items if isinstance(item, s.Decl))
        return s.File(self._source, edition, uses, decls)

    def edition(self, meta: TreeMeta, items: Items) -> builtins.int:
        span = self._token_span(items[0])
        if span.text != str(EDITION):
            message = f"this compiler knows edition {EDITION} of the language, not {span.text}"
            raise _mistake(span, "E0114", message)
        return EDITION

    def use(self, meta: TreeMeta, items: Items) -> s.Use:
        (dots, parts, span), *names = items
        return s.Use(self._span(meta), dots, parts, span, tuple(n for n in names if n))

    def module(self, meta: TreeMeta, items: Items) -> tuple[int, tuple[str, ...], Span]:
        names = tuple(str(t) for t in items if t.type == "NAME")
        first = next(i for i, t in enumerate(items) if t.type == "NAME")
        return first, names, self._span(meta)

    def import_name(self, meta: TreeMeta, items: Items) -> s.ImportName:
        name, alias = items
        return s.ImportName(self._span(meta), str(name), str(alias or name))

    def _decl(self, meta: TreeMeta, name: lark.Token) -> tuple[Span, str, Span]:
        return self._span(meta), str(name), self._token_span(name)

    def network(self, meta: TreeMeta, items: Items) -> s.Network:
        name, params, body = items
        return s.Network(*self._decl(meta, name), params or (), body)

    def variant(self, meta: TreeMeta, items: Items) -> s.Variant:
        name, derivation, facts = items
        return s.Variant(*self._decl(meta, name), derivation, facts or ())

    def derivation(self, meta: TreeMeta, items: Items) -> s.Derivation:
        base, *settings = items
        return s.Derivation(self._span(meta), base, tuple(x for x in settings if x is not None))

    def facts(self, meta: TreeMeta, items: Items) -> tuple[s.Stmt, ...]:
        return tuple(items)

    def block(self, meta: TreeMeta, items: Items) -> s.Block:
        name, params, body = items
        if isinstance(body, s.Chain):
            body = s.Body(body.span, (body,))
        return s.Block(*self._decl(meta, name), params or (), body)

    def primitive(self, meta: TreeMeta, items: Items) -> s.Primitive:
        name, params = items
        return s.Primitive(*self._decl(meta, name), params or ())

    def shortcut(self, meta: TreeMeta, items: Items) -> s.Shortcut:
        name, params, branches = items
        return s.Shortcut(*self._decl(meta, name), params or (), branches)

    def function(self, meta: TreeMeta, items: Items) -> s.Function:
        name, params, returns, (lets, result) = items
        return s.Function(*self._decl(meta, name), params or (), returns, lets, result)

    def fn_body(self, meta: TreeMeta, items: Items) -> tuple[tuple[s.Let, ...], s.Expr]:
        *lets, result = items
        return tuple(lets), result

    def constant(self, meta: TreeMeta, items: Items) -> s.Const:
        name, type_, value = items
        return s.Const(*self._decl(meta, name), type_, value)

    def ambient(self, meta: TreeMeta, items: Items) -> s.Ambient:
        name, type_, value = items
        return s.Ambient(*self._decl(meta, name), type_, value)

    def recipe(self, meta: TreeMeta, items: Items) -> s.Recipe:
        name, *settings = items
        return s.Recipe(*self._decl(meta, name), tuple(settings))

    def recipe_variant(self, meta: TreeMeta, items: Items) -> s.RecipeVariant:
        name, derivation = items
        return s.RecipeVariant(*self._decl(meta, name), derivation)

    # ---- parameters and types

    def params(self, meta: TreeMeta, items: Items) -> tuple[s.Param, ...]:
        return tuple(item for item in items if item is not None)

    def param(self, meta: TreeMeta, items: Items) -> s.Param:
        name, type_, default = items
        return s.Param(self._span(meta), str(name), type_, default)

    def named_type(self, meta: TreeMeta, items: Items) -> s.TypeExpr:
        return s.TypeExpr(self._span(meta), str(items[0]))

    def list_type(self, meta: TreeMeta, items: Items) -> s.TypeExpr:
        name, item = items
        return s.TypeExpr(self._span(meta), str(name), item)

    def enum_type(self, meta: TreeMeta, items: Items) -> s.TypeExpr:
        return s.TypeExpr(self._span(meta), "string", choices=tuple(t[1:-1] for t in items))

    def optional_type(self, meta: TreeMeta, items: Items) -> s.TypeExpr:
        inner: s.TypeExpr = items[0]
        return s.TypeExpr(self._span(meta), inner.name, inner.item, inner.choices, True)

    # ---- statements

    def body(self, meta: TreeMeta, items: Items) -> s.Body:
        return s.Body(self._span(meta), tuple(items))

    def chain(self, meta: TreeMeta, items: Items) -> s.Chain:
        return s.Chain(self._span(meta), tuple(items))

    def aux(self, meta: TreeMeta, items: Items) -> s.Aux:
        return s.Aux(self._span(meta), items[0])

    def step(self, meta: TreeMeta, items: Items) -> s.Step:
        label, core, repeat, binds = items
        return s.Step(self._span(meta), label, core, repeat, binds or ())

    def label(self, meta: TreeMeta, items: Items) -> s.Expr:
        return self._label(items[0])

    def _label(self, token: lark.Token) -> s.Expr:
        if token.type == "STRING":
            return self._string(token)
        return s.Literal(self._token_span(token), str(token))

    def reuse(self, meta: TreeMeta, items: Items) -> s.Reuse:
        return s.Reuse(self._span(meta), self._label(items[0]))

    def repeat(self, meta: TreeMeta, items: Items) -> s.Expr:
        expr: s.Expr = items[1]
        return expr

    def bind(self, meta: TreeMeta, items: Items) -> tuple[s.Bind, ...]:
        return tuple(items)

    def bind_one(self, meta: TreeMeta, items: Items) -> s.Bind:
        return s.Bind(self._span(meta), str(items[0]), False)

    def bind_append(self, meta: TreeMeta, items: Items) -> s.Bind:
        return s.Bind(self._span(meta), str(items[0]), True)

    def call(self, meta: TreeMeta, items: Items) -> s.Call:
        name, args, inside = items
        body = inside if isinstance(inside, s.Body) else None
        branches = inside if isinstance(inside, tuple) else None
        where = self._token_span(name)
        return s.Call(self._span(meta), str(name), where, args or (), body, branches)

    def source(self, meta: TreeMeta, items: Items) -> s.From:
        return s.From(self._span(meta), tuple(items))

    def branches(self, meta: TreeMeta, items: Items) -> tuple[s.Branch, ...]:
        return tuple(items)

    def branch(self, meta: TreeMeta, items: Items) -> s.Branch:
        guard, *statements = items
        span = self._span(meta)
        return s.Branch(span, guard, s.Body(span, tuple(statements)))

    def guard_if(self, meta: TreeMeta, items: Items) -> s.Guard:
        return s.Guard(self._span(meta), items[0])

    def guard_for(self, meta: TreeMeta, items: Items) -> s.Guard:
        targets, iterable, test = items
        return s.Guard(self._span(meta), test, targets, iterable)

    def targets(self, meta: TreeMeta, items: Items) -> tuple[str, ...]:
        return tuple(str(token) for token in items)

    def shape(self, meta: TreeMeta, items: Items) -> s.Shape:
        return s.Shape(self._span(meta), items[0])

    def let(self, meta: TreeMeta, items: Items) -> s.Let:
        return s.Let(self._span(meta), items[0], items[1])

    def set(self, meta: TreeMeta, items: Items) -> s.Set:
        return s.Set(self._span(meta), tuple(items))

    def setting(self, meta: TreeMeta, items: Items) -> s.Setting:
        name, value = items
        return s.Setting(self._span(meta), str(name), self._token_span(name), value)

    def if_stmt(self, meta: TreeMeta, items: Items) -> s.If:
        test, then, orelse = items
        if isinstance(orelse, s.If):
            orelse = s.Body(orelse.span, (orelse,))
        return s.If(self._span(meta), test, then, orelse)

    def for_stmt(self, meta: TreeMeta, items: Items) -> s.For:
        return s.For(self._span(meta), *items)

    def require(self, meta: TreeMeta, items: Items) -> s.Require:
        return s.Require(self._span(meta), items[0], self._string(items[1]))

    def claim(self, meta: TreeMeta, items: Items) -> s.Claim:
        name, *relation, value = items
        span, sign = self._token_span(name), str(relation[0]) if relation else "="
        return s.Claim(self._span(meta), str(name), span, value, sign)

    def expect(self, meta: TreeMeta, items: Items) -> s.Expect:
        return s.Expect(self._span(meta), tuple(items))

    def meta(self, meta: TreeMeta, items: Items) -> s.Meta:
        return s.Meta(self._span(meta), tuple(items))

    def input_stmt(self, meta: TreeMeta, items: Items) -> s.InputStmt:
        return s.InputStmt(self._span(meta), items[1])

    def output_stmt(self, meta: TreeMeta, items: Items) -> s.OutputStmt:
        return s.OutputStmt(self._span(meta), tuple(items[1:]))

    # ---- expressions

    def cond(self, meta: TreeMeta, items: Items) -> s.Cond:
        return s.Cond(self._span(meta), *items)

    def binary(self, meta: TreeMeta, items: Items) -> s.Binary:
        left, operator, right = items
        return s.Binary(self._span(meta), str(operator), left, right)

    def range_op(self, meta: TreeMeta, items: Items) -> s.Binary:
        return s.Binary(self._span(meta), "..", items[0], items[1])

    def not_op(self, meta: TreeMeta, items: Items) -> s.Unary:
        return s.Unary(self._span(meta), "not", items[0])

    def negative(self, meta: TreeMeta, items: Items) -> s.Unary:
        return s.Unary(self._span(meta), "-", items[1])

    def apply(self, meta: TreeMeta, items: Items) -> s.Apply:
        return s.Apply(self._span(meta), items[0], items[1])

    def index(self, meta: TreeMeta, items: Items) -> s.Index:
        return s.Index(self._span(meta), *items)

    def slice(self, meta: TreeMeta, items: Items) -> s.Slice:
        return s.Slice(self._span(meta), *items)

    def attr(self, meta: TreeMeta, items: Items) -> s.Attr:
        base, _, name = items
        return s.Attr(self._span(meta), base, str(name))

    def name(self, meta: TreeMeta, items: Items) -> s.Name:
        return s.Name(self._span(meta), str(items[0]))

    def args(self, meta: TreeMeta, items: Items) -> tuple[s.Arg, ...]:
        return tuple(item for item in items if item is not None)

    def positional(self, meta: TreeMeta, items: Items) -> s.Arg:
        return s.Arg(self._span(meta), None, items[0])

    def keyword(self, meta: TreeMeta, items: Items) -> s.Arg:
        return s.Arg(self._span(meta), str(items[0]), items[1])

    def list(self, meta: TreeMeta, items: Items) -> s.ListExpr:
        return s.ListExpr(self._span(meta), tuple(x for x in items if x is not None))

    def comprehension(self, meta: TreeMeta, items: Items) -> s.Comprehension:
        return s.Comprehension(self._span(meta), *items)

    def table(self, meta: TreeMeta, items: Items) -> s.Table:
        columns, *rows = items
        return s.Table(self._span(meta), columns, tuple(rows))

    def columns(self, meta: TreeMeta, items: Items) -> tuple[s.Column, ...]:
        return tuple(s.Column(self._token_span(name), str(name)) for name in items)

    def row(self, meta: TreeMeta, items: Items) -> s.ListExpr:
        return s.ListExpr(self._span(meta), tuple(items))

    # ---- literals

    def int(self, meta: TreeMeta, items: Items) -> s.Literal:
        digits = items[0].replace("_", "")
        if len(digits) > 16:
            raise _mistake(self._span(meta), "E0105", "this integer is out of range")
        return s.Literal(self._span(meta), int(digits))

    def float(self, meta: TreeMeta, items: Items) -> s.Literal:
        value = float(items[0].replace("_", ""))
        if value == float("inf"):
            raise _mistake(self._span(meta), "E0105", "this number is out of range")
        return s.Literal(self._span(meta), value)

    def percent(self, meta: TreeMeta, items: Items) -> s.Literal:
        percent = float(items[0][:-1])
        if percent > 1e9:
            raise _mistake(self._span(meta), "E0105", "this ratio is out of range")
        return s.Literal(self._span(meta), s.Percent(percent / 100))

    def size(self, meta: TreeMeta, items: Items) -> s.Literal:
        parts = items[0].split("x")
        if len(parts) > 8 or any(len(part) > 9 for part in parts):
            raise _mistake(self._span(meta), "E0105", "this size is out of range")
        return s.Literal(self._span(meta), tuple(int(part) for part in parts))

    def true(self, meta: TreeMeta, items: Items) -> s.Literal:
        return s.Literal(self._span(meta), True)

    def false(self, meta: TreeMeta, items: Items) -> s.Literal:
        return s.Literal(self._span(meta), False)

    def none(self, meta: TreeMeta, items: Items) -> s.Literal:
        return s.Literal(self._span(meta), None)

    def string(self, meta: TreeMeta, items: Items) -> s.Expr:
        return self._string(items[0])

    def _string(self, token: lark.Token) -> s.Expr:
        """A literal, or a template where the string has `{expressions}`."""
        span = self._token_span(token)
        parts: list[str | s.Expr] = []
        for match in _TEMPLATE_PART.finditer(str(token), 1, len(token) - 1):
            start = span.start + match.start()
            if match["escape"] is not None:
                parts.append(_ESCAPES.get(match["escape"], match["escape"]))
            elif match["expr"] is not None:
                parts.append(self._embedded(match["expr"], start + 1))
            elif match["text"] is not None:
                parts.append(match["text"])
            else:
                stray = f"a stray `{match['stray']}` in a string; write `\\{match['stray']}`"
                raise _mistake(Span(self._source, start, start + 1), "E0107", stray)
        if any(isinstance(part, s.Expr) for part in parts):
            return s.Template(span, tuple(parts))
        return s.Literal(span, "".join(str(part) for part in parts))

    def _embedded(self, text: str, offset: builtins.int) -> s.Expr:
        expr = self._parse_embedded(self._source, "expr", text, offset)
        assert isinstance(expr, s.Expr)
        return expr


def _mistake(span: Span, code: str, message: str) -> CompileError:
    return CompileError(Diagnostic(code, message, Label(span)))
