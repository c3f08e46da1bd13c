"""Runs a network's text: blocks are opened, repeats unrolled, shapes followed, names given.

One pass over the statements, a tensor flowing through them. A mistake is recorded, the tensor
becomes poison, and the pass goes on, so that all independent mistakes come out together.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from resnetc.diagnostics import CompileError, Diagnostic, Label, Span
from resnetc.lang import syntax as s
from resnetc.lang.evaluate import Env, Evaluator, Mistake, Poisoned
from resnetc.lang.expectations import Expectation
from resnetc.lang.record import Budget, CheckedNetwork, Recorder, join
from resnetc.lang.values import (
    POISON,
    Bound,
    Layer,
    Poison,
    Policy,
    Tensor,
    TensorList,
    show,
    type_name,
)
from resnetc.lang.variants import Derived
from resnetc.ops import MERGES, PRIMITIVES, Op, OpError
from resnetc.ops.layout import Input
from resnetc.shapes import TensorType

MAX_BLOCK_DEPTH = 32
CONTAINERS = ("seq", "group")
STRUCTURES = (*CONTAINERS, "residual", *MERGES)
Flowing = Tensor | Poison | list[Tensor] | None


@dataclass(slots=True)
class Site:
    """Where layers are being placed, and the tensor that flows there.

    `counter` counts the indices of a `seq`, and is None elsewhere; branches share it.
    """

    here: Flowing
    scope: int
    path: str
    counter: Counter | None = None
    depth: int = 0

    def branch(self, here: Flowing) -> Site:
        """The same place with another tensor."""
        return Site(here, self.scope, self.path, self.counter, self.depth)


@dataclass(slots=True)
class Counter:
    """Next index of a `seq`."""

    next: int = 0

    def take(self) -> str:
        """The index for one more layer."""
        self.next += 1
        return str(self.next - 1)


class Elaborator:
    """Elaborates one network. `findings` fills as it goes."""

    def __init__(self, derived: Derived, evaluator: Evaluator) -> None:
        self.derived = derived
        self.evaluate = evaluator
        self.record = Recorder()
        self.findings: list[Diagnostic] = []
        self.expectations: list[Expectation] = []
        self.meta: dict[str, object] = {}
        self.outputs: dict[str, int] = {}
        self._sites: list[s.Call] = []
        self._set_spans: dict[str, Span] = {}
        self._overrides: dict[str, object] = {}
        self._by_type: dict[type[s.Stmt], Callable[[Any, Env, Site], None]] = {
            s.Chain: self._chain,
            s.Shape: self._shape,
            s.Let: self._let,
            s.Set: self._set,
            s.If: self._if,
            s.For: self._for,
            s.Require: self._require,
            s.Expect: self._expect,
            s.Meta: self._meta,
            s.InputStmt: self._input,
            s.OutputStmt: self._output,
        }

    # ---- the network

    def run(self) -> CheckedNetwork:
        """The elaborated network. Raises CompileError with every mistake."""
        decl, home = self.derived.template.decl, self.derived.template.home
        assert isinstance(decl, s.Network)
        env = Env(home, {}, dict(self.derived.ambients))
        scope = self.record.open_block(None, "", decl.name, decl.name_span)
        site = Site(None, scope, "")
        try:
            self._bind_network(decl, env)
            self._statements(decl.body, env, site)
            self._finish_output(site, decl)
        except Budget as error:
            self._report(error.diagnostic, site)
        except Mistake as error:
            self._report(error.diagnostic, site)
        except Poisoned:
            pass
        self._facts(env, site)
        self._check_overrides()
        if self.findings:
            raise CompileError(self.findings)
        record = self.record
        ops, blocks = tuple(record.ops), tuple(record.blocks)
        return CheckedNetwork(self.derived.name, ops, blocks, self.outputs, self.meta)

    def _bind_network(self, decl: s.Network, env: Env) -> None:
        """Bind the parameters; one named like an ambient sets that ambient for the body."""
        self.evaluate.bind(decl, self.derived.bound, env, self.derived.span)
        for param in decl.params:
            definition = env.home.names.get(param.name)
            if definition is not None and isinstance(definition.decl, s.Ambient):
                env.ambients[param.name] = env.names.pop(param.name)
        self._overrides = {name: env.ambients[name] for name in self.derived.ambient_spans}

    def _finish_output(self, site: Site, decl: s.Network) -> None:
        if self.outputs or isinstance(site.here, Poison):
            return
        if not isinstance(site.here, Tensor):
            message = f"network `{decl.name}` places no layer"
            raise Mistake("E0410", message, decl.name_span, help="begin with `input 3x224x224`")
        self.outputs["logits"] = site.here.id

    def _facts(self, env: Env, site: Site) -> None:
        """The variant's own `expect` and `meta`, then all expectations against what came out."""
        poisoned = bool(self.findings)
        fact_env = Env(self.derived.home)
        for fact in self.derived.facts:
            self._statement(fact, fact_env, site)
        if poisoned or self.derived.rebound:
            return
        for expectation in self.expectations:
            finding = expectation.check(self.record.ops, self.outputs)
            if finding is not None:
                self.findings.append(finding)

    def _check_overrides(self) -> None:
        """An override of an ambient that took no effect is a mistake (law 4)."""
        if self.findings:
            return
        for name, span in self.derived.ambient_spans.items():
            value = self._overrides[name]
            if (name, id(value)) in self.evaluate.ambients_read:
                continue
            labels: tuple[Label, ...] = ()
            advice = f"nothing in this network uses `{name}`"
            if name in self._set_spans:
                labels = (Label(self._set_spans[name], "it is set here, for all that follows"),)
                advice = f"make `{name}` a parameter of the network instead of setting it"
            message = f"`with {name} = {show(value)}` would have no effect"
            mistake = Mistake("E0405", message, span, secondary=labels, help=advice)
            self.findings.append(mistake.diagnostic)

    # ---- statements

    def _statements(self, body: s.Body, env: Env, site: Site) -> None:
        for statement in body.statements:
            self._statement(statement, env, site)

    def _statement(self, statement: s.Stmt, env: Env, site: Site) -> None:
        try:
            self._by_type[type(statement)](statement, env, site)
        except Budget:
            raise
        except Mistake as error:
            self._report(error.diagnostic, site)
            self._poison(statement, env, site)
        except Poisoned:
            self._poison(statement, env, site)

    def _poison(self, statement: s.Stmt, env: Env, site: Site) -> None:
        """What the statement would have defined is poison now."""
        if isinstance(statement, s.Let):
            env.names.update(dict.fromkeys(statement.targets, POISON))
        elif isinstance(statement, s.Chain):
            site.here = POISON
            for bind in (bind for step in statement.steps for bind in step.binds):
                env.names[bind.name] = POISON
        elif isinstance(statement, s.If | s.For | s.InputStmt):
            site.here = POISON

    def _report(self, diagnostic: Diagnostic, site: Site) -> None:
        place = f"in {site.path} of {self.derived.name}" if site.path else f"in {self.derived.name}"
        d = diagnostic
        notes = (*d.notes, place)
        self.findings.append(Diagnostic(d.code, d.message, d.primary, d.secondary, notes, d.help))

    def _let(self, let: s.Let, env: Env, site: Site) -> None:
        self.evaluate.let(let, env)

    def _set(self, statement: s.Set, env: Env, site: Site) -> None:
        for setting in statement.settings:
            definition = env.home.names.get(setting.name)
            if definition is None or not isinstance(definition.decl, s.Ambient):
                message = f"`{setting.name}` is not an ambient, so it cannot be set"
                advice = f"for a name of your own: `let {setting.name} = ...`"
                raise Mistake("E0213", message, setting.name_span, help=advice)
            value = self.evaluate(setting.value, env)
            env.ambients = {**env.ambients, setting.name: value}
            self._set_spans.setdefault(setting.name, setting.span)

    def _if(self, statement: s.If, env: Env, site: Site) -> None:
        test = self.evaluate.typed(statement.test, env, bool, "bool")
        body = statement.then if test else statement.orelse
        if body is not None:
            self._statements(body, env.child(), site)

    def _for(self, statement: s.For, env: Env, site: Site) -> None:
        for item in self.evaluate.items(statement.iterable, env):
            inner = env.child()
            self.evaluate.assign(statement.targets, item, inner, statement.iterable.span)
            self._statements(statement.body, inner, site)

    def _require(self, statement: s.Require, env: Env, site: Site) -> None:
        if self.evaluate.typed(statement.test, env, bool, "bool"):
            return
        reason = self.evaluate(statement.reason, env)
        facts = [f"{name} = {show(env.find(name)[1])}" for name in names_in(statement.test)]
        raise Mistake("E0407", str(reason), statement.test.span, "this does not hold", notes=facts)

    def _expect(self, statement: s.Expect, env: Env, site: Site) -> None:
        for setting in statement.settings:
            value = self.evaluate(setting.value, env)
            self.expectations.append(Expectation.of(setting, value, self.derived.name))

    def _meta(self, statement: s.Meta, env: Env, site: Site) -> None:
        for setting in statement.settings:
            value = self.evaluate(setting.value, env)
            if not isinstance(value, str | int | float | list | tuple):
                message = f"meta holds plain values, not {type_name(value)}"
                raise Mistake("E0301", message, setting.value.span)
            self.meta[setting.name] = value

    def _input(self, statement: s.InputStmt, env: Env, site: Site) -> None:
        shape = self.evaluate(statement.value, env)
        if isinstance(shape, int):
            shape = (shape,)
        if not isinstance(shape, tuple) or not all(extent >= 1 for extent in shape):
            message = f"an input is a shape such as 3x224x224, not {type_name(shape)}"
            raise Mistake("E0301", message, statement.value.span)
        if site.here is not None:
            raise Mistake("E0411", "a network has one `input`, before all layers", statement.span)
        op = Input(TensorType(shape))
        site.here = self.record.place(
            op, (), path="", component="input", scope=site.scope, span=statement.span
        )
        env.names["input"] = site.here

    def _output(self, statement: s.OutputStmt, env: Env, site: Site) -> None:
        for value in statement.values:
            tensor = self.evaluate(value, env)
            if not isinstance(tensor, Tensor):
                message = f"an output is a tensor, not {type_name(tensor)}"
                raise Mistake("E0301", message, value.span)
            name = value.name if isinstance(value, s.Name) else f"output{len(self.outputs)}"
            self.outputs[name] = tensor.id

    def _shape(self, statement: s.Shape, env: Env, site: Site) -> None:
        value = self.evaluate(statement.value, env)
        expected = [value] if isinstance(value, int) else value
        if not isinstance(expected, tuple | list):
            message = f"a shape is written 56x56 or [classes], not {type_name(value)}"
            raise Mistake("E0301", message, statement.value.span)
        if isinstance(site.here, Poison):
            return
        if not isinstance(site.here, Tensor):
            raise Mistake("E0412", "there is no tensor here yet", statement.span)
        found = site.here.type.shape
        if tuple(expected) != found[len(found) - len(expected) :]:
            shown = "x".join(map(show, expected))
            message = f"the tensor here is {site.here.type}, not {shown}"
            span = self.record.ops[site.here.id].span
            made = Label(span, f"gives {site.here.type}")
            raise Mistake(
                "E0403", message, statement.value.span, "expected by this line", secondary=(made,)
            )

    # ---- rows and steps

    def _chain(self, chain: s.Chain, env: Env, site: Site) -> None:
        for step in chain.steps:
            self._step(step, env, site)
            env.names["here"] = site.here

    def _step(self, step: s.Step, env: Env, site: Site) -> None:
        if isinstance(step.core, s.From):
            site.here = self._from(step, step.core, env)
        elif step.repeat is not None:
            self._repeat(step, step.core, env, site)
        else:
            self._call(step.core, self._component(step, env), env, site, step.span)
        for bind in step.binds:
            self._bind(bind, env, site)

    def _from(self, step: s.Step, source: s.From, env: Env) -> Flowing:
        if step.label is not None or step.repeat is not None:
            raise Mistake("E0110", "`from` takes no label and no repeat", step.span)
        tensors: list[Tensor] = []
        for expr in source.values:
            value = self.evaluate(expr, env)
            items = value.items if isinstance(value, TensorList) else [value]
            for item in items:
                if not isinstance(item, Tensor):
                    message = f"`from` needs a tensor, not {type_name(item)}"
                    raise Mistake("E0301", message, expr.span)
                tensors.append(item)
        return tensors[0] if len(tensors) == 1 else tensors

    def _bind(self, bind: s.Bind, env: Env, site: Site) -> None:
        value = site.here if site.here is not None else POISON
        if not bind.append:
            env.names[bind.name] = value
            return
        found, grown = env.find(bind.name)
        if not found or not isinstance(grown, TensorList):
            grown = TensorList()
            env.names[bind.name] = grown
        grown.items.append(value)

    def _component(self, step: s.Step, env: Env) -> str | None:
        """The path component that the step's label gives."""
        if step.label is None:
            return None
        label = self.evaluate(step.label, env)
        text = label if isinstance(label, str) else show(label)
        if not text or text != text.strip(".") or any(c in text for c in "/\\ \n\t"):
            message = f'"{text}" cannot be part of a parameter name'
            raise Mistake("E0111", message, step.label.span)
        return text

    def _repeat(self, step: s.Step, call: s.Call, env: Env, site: Site) -> None:
        assert step.repeat is not None
        count = self.evaluate.typed(step.repeat, env, int, "int")
        if count < 0:
            message = f"cannot repeat {count} times"
            raise Mistake("E0310", message, step.repeat.span)
        component = self._component(step, env)
        inner = site
        if component is not None:
            path = join(site.path, component)
            scope = self.record.open_block(site.scope, path, "seq", step.span)
            inner = Site(site.here, scope, path, Counter(), site.depth)
        for index in range(count):
            here = env.child()
            here.names.update(index=index, first=index == 0, last=index == count - 1)
            self._call(call, None, here, inner, step.span)
        site.here = inner.here

    # ---- placing

    def _call(self, call: s.Call, component: str | None, env: Env, site: Site, span: Span) -> None:
        if call.name in STRUCTURES:
            self._structure(call, component, env, site, span)
            return
        if call.body is not None or call.branches is not None:
            message = f"`{call.name}` takes no body in braces"
            raise Mistake("E0112", message, call.name_span)
        layer = self.evaluate(s.Name(call.name_span, call.name), env)
        if layer is None:
            return
        if not isinstance(layer, Layer):
            message = f"a {type_name(layer)} cannot be placed: `{call.name}` is not a layer"
            raise Mistake("E0214", message, call.name_span)
        bound = layer.bound + self.evaluate.arguments(call.args, env)
        component = self._index(component, site)
        if isinstance(layer.declaration, s.Primitive):
            self._primitive(layer, layer.declaration, bound, component, env, site, call)
        else:
            self._block(layer, layer.declaration, bound, component, env, site, call)

    def _index(self, component: str | None, site: Site) -> str | None:
        """The label's component, or the next index inside a `seq`."""
        if component is None and site.counter is not None:
            return site.counter.take()
        return component

    def _primitive(
        self,
        layer: Layer,
        decl: s.Primitive,
        bound: tuple[Bound, ...],
        component: str | None,
        env: Env,
        site: Site,
        call: s.Call,
    ) -> None:
        inner = Env(layer.home, {}, env.ambients)
        where = self.evaluate.bind(decl, bound, inner, call.span)
        operand = self._operand(site, call)
        if decl.name == "identity" and component is None:
            return
        try:
            op = PRIMITIVES[decl.name].place((operand.type,), **inner.names)
            site.here = self.record.place(
                op,
                (operand,),
                path=site.path,
                component=component,
                scope=site.scope,
                span=call.span,
            )
        except OpError as error:
            span = where.get(error.argument or "", call.name_span)
            raise self._op_mistake(error, span, operand) from None

    def _op_mistake(self, error: OpError, span: Span, operand: Tensor) -> Mistake:
        made = self.record.ops[operand.id]
        came = f"{operand.type} comes from `{made.name}` ({made.span})"
        return Mistake(
            error.code, error.message, span, notes=(*error.notes, came), help=error.advice
        )

    def _operand(self, site: Site, call: s.Call) -> Tensor:
        if isinstance(site.here, Poison):
            raise Poisoned
        if isinstance(site.here, list):
            message = f"`{call.name}` takes one tensor, not {len(site.here)}"
            raise Mistake("E0413", message, call.name_span, help="join them with add or concat")
        if site.here is None:
            message = "there is no tensor here yet"
            raise Mistake("E0412", message, call.name_span, help="begin with `input 3x224x224`")
        return site.here

    def _block(
        self,
        layer: Layer,
        decl: s.Block,
        bound: tuple[Bound, ...],
        component: str | None,
        env: Env,
        site: Site,
        call: s.Call,
    ) -> None:
        here = POISON if site.here is None else site.here
        inner = Env(layer.home, {"input": here, "here": here}, env.ambients)
        self.evaluate.bind(decl, bound, inner, call.span)
        place = self._open(decl.name, component, site, call.span)
        with self._active(call, decl, site):
            self._statements(decl.body, inner, place)
        site.here = place.here

    @contextlib.contextmanager
    def _active(self, call: s.Call, decl: s.Block, site: Site) -> Iterator[None]:
        """A call site may not be active inside itself: this is why every elaboration ends."""
        if any(active is call for active in self._sites):
            message = f"block `{decl.name}` would contain itself"
            note = "blocks may not recurse; use `* n` or `for`"
            raise Mistake("E0408", message, call.name_span, notes=(note,))
        if site.depth >= MAX_BLOCK_DEPTH:
            message = f"blocks are nested {MAX_BLOCK_DEPTH} deep"
            raise Mistake("E0602", message, call.name_span)
        self._sites.append(call)
        try:
            yield
        finally:
            self._sites.pop()

    def _open(self, block: str, component: str | None, site: Site, span: Span) -> Site:
        """A site inside a new module; without a component it shares the outer one's path."""
        path = site.path if component is None else join(site.path, component)
        scope = self.record.open_block(site.scope, path, block, span)
        return Site(site.here, scope, path, None, site.depth + 1)

    # ---- seq, group, residual and merges

    def _structure(
        self, call: s.Call, component: str | None, env: Env, site: Site, span: Span
    ) -> None:
        component = self._index(component, site)
        if call.name in CONTAINERS:
            place = self._open(call.name, component, site, span)
            place.counter = Counter() if call.name == "seq" else None
            self._no_arguments(call)
            self._statements(self._body(call), env.child(), place)
            site.here = place.here
            return
        place = site.branch(site.here)
        place.counter = None
        if component is not None:
            place = self._open(call.name, component, site, span)
        if call.name == "residual":
            self._residual(call, env, place)
        else:
            self._no_arguments(call)
            self._merge(call, env, place)
        site.here = place.here

    def _no_arguments(self, call: s.Call) -> None:
        if call.args:
            message = f"`{call.name}` takes no arguments"
            raise Mistake("E0205", message, call.args[0].span)

    def _body(self, call: s.Call) -> s.Body:
        if call.body is None:
            message = f"`{call.name}` needs a body in braces"
            raise Mistake("E0112", message, call.name_span, help=f"`{call.name} {{ ... }}`")
        return call.body

    def _merge(self, call: s.Call, env: Env, site: Site) -> None:
        if call.body is not None:
            message = f"the branches of `{call.name}` begin with `|`"
            raise Mistake("E0112", message, call.name_span)
        if call.branches is None:
            if not isinstance(site.here, list):
                raise Mistake("E0112", f"`{call.name}` needs branches", call.name_span)
            ends = [(tensor, call.name_span) for tensor in site.here]
        else:
            ends = list(self._branches(call.branches, env, site))
        self._join(call.name, ends, site, call.name_span)

    def _branches(
        self, branches: tuple[s.Branch, ...], env: Env, site: Site
    ) -> Iterator[tuple[Tensor, Span]]:
        """Run the branches whose guards hold; yields each end and where it was written."""
        poisoned = False
        for branch in branches:
            for inner in self._guarded(branch.guard, env):
                place = site.branch(site.here)
                self._statements(branch.body, inner, place)
                if isinstance(place.here, Tensor):
                    yield place.here, branch.span
                poisoned = poisoned or isinstance(place.here, Poison)
        if poisoned:
            raise Poisoned

    def _guarded(self, guard: s.Guard | None, env: Env) -> Iterator[Env]:
        """One environment for every time the branch is to run."""
        if guard is None:
            yield env.child()
            return
        if guard.iterable is None:
            assert guard.test is not None
            if self.evaluate.typed(guard.test, env, bool, "bool"):
                yield env.child()
            return
        for item in self.evaluate.items(guard.iterable, env):
            inner = env.child()
            self.evaluate.assign(guard.targets, item, inner, guard.span)
            if guard.test is None or self.evaluate.typed(guard.test, inner, bool, "bool"):
                yield inner

    def _join(self, name: str, ends: list[tuple[Tensor, Span]], site: Site, span: Span) -> None:
        if not ends:
            raise Mistake("E0414", f"`{name}` has no branch to join", span)
        if len(ends) == 1:
            site.here = ends[0][0]
            return
        op: Op = MERGES[name]()
        tensors = tuple(tensor for tensor, _ in ends)
        try:
            site.here = self.record.place(
                op, tensors, path=site.path, component=None, scope=site.scope, span=span
            )
        except OpError as error:
            labels = tuple(Label(where, str(tensor.type)) for tensor, where in ends)
            raise Mistake(
                error.code, error.message, span, secondary=labels, help=error.advice
            ) from None

    def _residual(self, call: s.Call, env: Env, site: Site) -> None:
        settings = self._residual_settings(call, env)
        before = site.here
        place = site.branch(before)
        body = self._body(call)
        self._statements(body, env.child(), place)
        if isinstance(place.here, Poison) or isinstance(before, Poison):
            raise Poisoned
        if not isinstance(before, Tensor) or not isinstance(place.here, Tensor):
            raise Mistake("E0412", "there is no tensor here yet", call.name_span)
        policy, policy_span = settings["shortcut"]
        ends = [(place.here, body.span)]
        if isinstance(policy, Policy):
            ends += self._shortcut(policy, before, place.here, env, site, policy_span)
        elif policy is not None:
            message = f"expected shortcut, found {type_name(policy)}"
            raise Mistake("E0301", message, policy_span)
        self._join("add", ends, site, call.name_span)
        act, act_span = settings["act"]
        if act is None:
            return
        if not isinstance(act, Layer):
            raise Mistake("E0301", f"expected layer, found {type_name(act)}", act_span)
        activation = s.Call(call.span, "act", act_span, (), None, None)
        inner = Env(env.home, {"act": act}, env.ambients)
        self._call(activation, None, inner, site, call.span)

    def _residual_settings(self, call: s.Call, env: Env) -> dict[str, tuple[object, Span]]:
        """`act` and `shortcut`: as given, else what the ambients say."""
        given = {arg.name: arg for arg in call.args}
        for arg in call.args:
            if arg.name not in ("act", "shortcut"):
                named = f"has no parameter `{arg.name}`" if arg.name else "takes named arguments"
                note = "residual(act: layer?, shortcut: shortcut)"
                raise Mistake("E0203", f"`residual` {named}", arg.span, notes=(note,))
        settings: dict[str, tuple[object, Span]] = {}
        for name in ("shortcut", "act"):
            expr = given[name].value if name in given else s.Name(call.name_span, name)
            settings[name] = self.evaluate(expr, env), expr.span
        return settings

    def _shortcut(
        self, policy: Policy, before: Tensor, after: Tensor, env: Env, site: Site, span: Span
    ) -> list[tuple[Tensor, Span]]:
        """Run a policy between the two tensors it has to reconcile."""
        inner = Env(policy.home, {}, env.ambients)
        self.evaluate.bind(policy.declaration, policy.bound, inner, span)
        inner.names.update(
            input=before,
            here=before,
            output=after,
            stride=_spatial_ratio(before.type, after.type),
            changed=before.type != after.type,
        )
        return list(self._branches(policy.declaration.branches, inner, site.branch(before)))


def _spatial_ratio(before: TensorType, after: TensorType) -> int | tuple[int, int]:
    """How many pixels of the input stand for one of the output: one int where square."""
    if len(before.shape) != 3 or len(after.shape) != 3:
        return 1
    ratio = tuple(-(-b // a) for b, a in zip(before.shape[1:], after.shape[1:], strict=True))
    return ratio[0] if ratio[0] == ratio[1] else (ratio[0], ratio[1])


def names_in(expr: s.Expr) -> list[str]:
    """Names an expression mentions, each once, in order."""
    found: list[str] = []
    stack: list[object] = [expr]
    while stack:
        item = stack.pop()
        if isinstance(item, s.Name) and item.name not in found:
            found.append(item.name)
        if isinstance(item, tuple):
            stack.extend(reversed(item))
        elif isinstance(item, s.Expr | s.Arg):
            fields = [getattr(item, name) for name in item.__slots__ if name != "span"]
            stack.extend(reversed(fields))
    return found
