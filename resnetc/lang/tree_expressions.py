"""Lark's tree to records of the syntax tree: places, types, expressions and literals."""

from __future__ import annotations

import builtins
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import lark
from lark.tree import Meta as TreeMeta
from lark.visitors import Transformer_NonRecursive, v_args

from resnetc.diagnostics import CompileError, Diagnostic, Help, Label, Source, Span
from resnetc.lang import syntax as s

Items = list[Any]
Embedded = Callable[[Source, str, str, int], object]
"""Parses an expression inside a string: source, start rule, text, offset."""

_TEMPLATE_PART = re.compile(r"\\(?P<escape>.)|\{(?P<expr>[^{}]*)\}|(?P<text>[^\\{}]+)|(?P<stray>.)")
_ESCAPES = {"n": "\n", "t": "\t"}


def mistake(span: Span, code: str, message: str, advice: Help | None = None) -> CompileError:
    """The error of something that is written wrong."""
    return CompileError(Diagnostic(code, message, Label(span), help=advice))


@v_args(meta=True)
class ExpressionBuilder(Transformer_NonRecursive):  # type: ignore[type-arg]
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

    def signature_type(self, meta: TreeMeta, items: Items) -> s.TypeExpr:
        name, params = items
        return s.TypeExpr(self._span(meta), str(name), params=params)

    def enum_type(self, meta: TreeMeta, items: Items) -> s.TypeExpr:
        return s.TypeExpr(self._span(meta), "string", choices=tuple(t[1:-1] for t in items))

    def optional_type(self, meta: TreeMeta, items: Items) -> s.TypeExpr:
        inner: s.TypeExpr = items[0]
        return replace(inner, span=self._span(meta), optional=True)

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
            raise mistake(self._span(meta), "E0105", "this integer is out of range")
        return s.Literal(self._span(meta), int(digits))

    def float(self, meta: TreeMeta, items: Items) -> s.Literal:
        value = float(items[0].replace("_", ""))
        if value == float("inf"):
            raise mistake(self._span(meta), "E0105", "this number is out of range")
        return s.Literal(self._span(meta), value)

    def percent(self, meta: TreeMeta, items: Items) -> s.Literal:
        percent = float(items[0][:-1])
        if percent > 1e9:
            raise mistake(self._span(meta), "E0105", "this ratio is out of range")
        return s.Literal(self._span(meta), s.Percent(percent / 100))

    def size(self, meta: TreeMeta, items: Items) -> s.Literal:
        parts = items[0].split("x")
        if len(parts) > 8 or any(len(part) > 9 for part in parts):
            raise mistake(self._span(meta), "E0105", "this size is out of range")
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
                at = Span(self._source, start, start + 1)
                escaped = f"\\{at.text}"
                raise mistake(at, "E0107", stray, Help(f"write `{escaped}`", at, escaped))
        if any(isinstance(part, s.Expr) for part in parts):
            return s.Template(span, tuple(parts))
        return s.Literal(span, "".join(str(part) for part in parts))

    def _embedded(self, text: str, offset: builtins.int) -> s.Expr:
        expr = self._parse_embedded(self._source, "expr", text, offset)
        assert isinstance(expr, s.Expr)
        return expr
