"""Lark's tree to records of the syntax tree: declarations and statements."""

from __future__ import annotations

import builtins

import lark
from lark.tree import Meta as TreeMeta
from lark.visitors import v_args

from resnetc.diagnostics import Help, Span
from resnetc.lang import syntax as s
from resnetc.lang.tree_expressions import ExpressionBuilder, Items, mistake

EDITION = 1
"""Fixes the grammar, the standard library's names and the defaults."""


@v_args(meta=True)
class TreeBuilder(ExpressionBuilder):
    """Makes records of a whole file, or of one expression."""

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
            advice = Help(f"write `rnet {EDITION}`", span, str(EDITION), sure=False)
            raise mistake(span, "E0114", message, advice)
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
        return s.Recipe(*self._decl(meta, items[0]), *_entries(items))

    def recipe_variant(self, meta: TreeMeta, items: Items) -> s.RecipeVariant:
        name, derivation = items
        return s.RecipeVariant(*self._decl(meta, name), derivation)

    def experiment(self, meta: TreeMeta, items: Items) -> s.Experiment:
        return s.Experiment(*self._decl(meta, items[0]), *_entries(items))

    def experiment_variant(self, meta: TreeMeta, items: Items) -> s.ExperimentVariant:
        name, derivation = items
        return s.ExperimentVariant(*self._decl(meta, name), derivation)

    def deploy(self, meta: TreeMeta, items: Items) -> s.Deploy:
        return s.Deploy(*self._decl(meta, items[0]), *_entries(items))

    def deploy_variant(self, meta: TreeMeta, items: Items) -> s.DeployVariant:
        name, derivation = items
        return s.DeployVariant(*self._decl(meta, name), derivation)

    def subsection(self, meta: TreeMeta, items: Items) -> s.Subsection:
        return s.Subsection(*self._decl(meta, items[0]), *_entries(items))

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

    def override(self, meta: TreeMeta, items: Items) -> s.Setting:
        (name, name_span), value = items
        return s.Setting(self._span(meta), name, name_span, value)

    def key(self, meta: TreeMeta, items: Items) -> tuple[str, Span]:
        return "".join(map(str, items)), self._span(meta)

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


def _entries(items: Items) -> tuple[tuple[s.Setting, ...], tuple[s.Subsection, ...]]:
    """What stands in the braces of a section."""
    settings = tuple(item for item in items if isinstance(item, s.Setting))
    return settings, tuple(item for item in items if isinstance(item, s.Subsection))
