"""Places layers: rows, labels, repeats, calls of primitives and blocks."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import NoReturn

from resnetc.diagnostics import Help, Label, Span
from resnetc.lang import syntax as s
from resnetc.lang.evaluate import Env, Evaluator
from resnetc.lang.mending import as_map
from resnetc.lang.mistake import Abandon, Mistake, Poisoned
from resnetc.lang.multiplied import Entered
from resnetc.lang.observe import Observer, Row
from resnetc.lang.record import Recorder, join
from resnetc.lang.replay import Replay, key_of
from resnetc.lang.reuse import Labelled, Reuse
from resnetc.lang.signatures import with_arguments
from resnetc.lang.site import Counter, Flowing, Opened, Site
from resnetc.lang.structures import STRUCTURES, Run, Structures, one_tensor, open_block
from resnetc.lang.values import (
    POISON,
    Bound,
    Layer,
    Poison,
    Tensor,
    TensorList,
    a_type,
    show,
    type_name,
)
from resnetc.ops import PRIMITIVES, Op, OpError

MAX_BLOCK_DEPTH = 32


class Placer:
    """Places rows of layers. `run` elaborates the statements of a body; `observe` is told of every
    step."""

    def __init__(
        self, evaluate: Evaluator, record: Recorder, run: Run, observe: Observer | None = None
    ) -> None:
        self.evaluate = evaluate
        self.record = record
        self._observe = observe
        self._run = run
        self._structures = Structures(
            evaluate, record, run, self._call, self._active, self._refuse_again
        )
        self.entered: list[Entered] = []
        self._times = 1
        self.reuse = Reuse(record)
        self.replay = Replay(record, enabled=observe is None)

    def chain(self, chain: s.Chain, env: Env, site: Site) -> None:
        """Place the steps of a chain. Raises Mistake with all that is wrong in them: behind a step
        that failed flows poison, and what does not depend on it is looked at still."""
        mistakes: list[Mistake] = []
        failed = False
        for step in chain.steps:
            try:
                self._observed(step, env, site)
            except Abandon:
                raise
            except (Mistake, Poisoned) as error:
                failed = True
                mistakes += (error, *error.rest) if isinstance(error, Mistake) else ()
                self._lose(step, env, site)
        if mistakes:
            raise Mistake.joined(mistakes)
        if failed:
            raise Poisoned

    def _observed(self, step: s.Step, env: Env, site: Site) -> None:
        before = len(self.record.ops)
        self._step(step, env, site)
        env.names["here"] = site.here
        if self._observe is not None:
            ops = tuple(self.record.ops[before:])
            self._observe(Row(step.span, site.path, site.here, ops))

    def _lose(self, step: s.Step, env: Env, site: Site) -> None:
        """What a step that failed would have given is poison."""
        self.reuse.lose_step(step, site)
        site.here = POISON
        env.names.update(dict.fromkeys((bind.name for bind in step.binds), POISON))
        env.names["here"] = POISON

    def _step(self, step: s.Step, env: Env, site: Site) -> None:
        if isinstance(step.core, s.From):
            site.here = self._from(step, step.core, env)
        elif isinstance(step.core, s.Reuse):
            self._again(step, step.core, env, site)
        else:
            self._layers(step, step.core, env, site)
        for bind, value in zip(step.binds, self._flowing(step, site), strict=True):
            self._bind(bind, value, env)
            for tensor in value if isinstance(value, list) else [value]:
                if isinstance(tensor, Tensor):
                    self.record.rows.setdefault(tensor.id, step.span)

    def _layers(self, step: s.Step, call: s.Call, env: Env, site: Site) -> None:
        """Place what a step calls; a label can be reused from here on."""
        component = self.component(step, env)
        before, ops, blocks = site.here, len(self.record.ops), len(self.record.blocks)
        if step.repeat is not None:
            self._repeat(step, call, component, env, site)
        else:
            self._call(call, component, env, site, step.span)
        if component is not None:
            made = range(ops, len(self.record.ops)), range(blocks, len(self.record.blocks))
            self.reuse.note(component, Labelled(step.span, before, site.here, *made), site)

    def _again(self, step: s.Step, core: s.Reuse, env: Env, site: Site) -> None:
        if step.label is not None:
            message = "`reuse` takes no label: the parameters have their names"
            written = Span(step.span.source, step.label.span.start, core.span.start)
            advice = Help("remove it", written, "")
            raise Mistake("E0110", message, step.label.span, help=advice)
        self.replay.acted()
        label = self._text(core.label, env)
        for _ in range(1 if step.repeat is None else self._count(step.repeat, env)):
            self.evaluate.budget.spend(step.span)
            self.reuse.place(core, label, site)

    def _flowing(self, step: s.Step, site: Site) -> Sequence[Flowing]:
        """What each target of `as` takes: the tensor, or its own of the several that flow."""
        count = len(step.binds)
        if not isinstance(site.here, list) or count < 2:
            return [site.here] * count
        if len(site.here) != count:
            message = f"{count} names cannot take {len(site.here)} tensors"
            raise Mistake("E0306", message, step.binds[0].span.to(step.binds[-1].span))
        return site.here

    def _from(self, step: s.Step, source: s.From, env: Env) -> Flowing:
        if step.label is not None or step.repeat is not None:
            behind = source.span.end
            advice = Help("remove it", step.span, source.span.text)
            if any(bind.span.start >= behind for bind in step.binds):
                advice = Help("leave it out")
            message = "`from` takes no label and no repeat"
            raise Mistake("E0110", message, step.span, help=advice)
        tensors: list[Tensor] = []
        for expr in source.values:
            value = self.evaluate(expr, env)
            items = value.items if isinstance(value, TensorList) else value
            for item in items if isinstance(items, list) else [items]:
                if not isinstance(item, Tensor):
                    message = f"`from` needs a tensor, not {type_name(item)}"
                    raise Mistake("E0301", message, expr.span)
                tensors.append(item)
        return tensors[0] if len(tensors) == 1 else tensors

    def _bind(self, bind: s.Bind, flowing: Flowing, env: Env) -> None:
        value = flowing if flowing is not None else POISON
        if not bind.append:
            env.names[bind.name] = value
            return
        found, grown = env.find(bind.name)
        if not found or not isinstance(grown, TensorList):
            grown = TensorList()
            env.names[bind.name] = grown
        grown.items += value if isinstance(value, list) else [value]

    def component(self, step: s.Step, env: Env) -> str | None:
        """The path component that the step's label gives."""
        return None if step.label is None else self._text(step.label, env)

    def _text(self, expr: s.Expr, env: Env) -> str:
        label = self.evaluate(expr, env)
        text = label if isinstance(label, str) else show(label)
        unfit = any(c in "/\\" or c.isspace() or not c.isprintable() for c in text)
        if unfit or not all(text.split(".")):
            message = f"{show(text)} cannot be part of a parameter name"
            note = "its parts, between dots, are not empty and hold no space, slash or control sign"
            raise Mistake("E0111", message, expr.span, notes=(note,))
        return text

    def _count(self, repeat: s.Expr, env: Env) -> int:
        count: int = self.evaluate.typed(repeat, env, int, "int")
        if count < 0:
            raise Mistake("E0310", f"cannot repeat {count} times", repeat.span)
        most = self.record.most_nodes
        if count > most:
            message = f"{count:,} repeats; a network holds at most {most:,} layers"
            raise Abandon("E0601", message, repeat.span)
        return count

    def _repeat(
        self, step: s.Step, call: s.Call, component: str | None, env: Env, site: Site
    ) -> None:
        assert step.repeat is not None
        count = self._count(step.repeat, env)
        inner = site
        if component is not None:
            path = join(site.path, component)
            scope = self.record.open_block(site.scope, path, "seq", step.span)
            inner = Site(site.here, scope, path, Counter(), site.depth, site.opened)
        with self.repeated(count):
            for index in range(count):
                self.evaluate.budget.spend(step.span)
                names = env.child()
                names.names.update(index=index, first=index == 0, last=index == count - 1)
                if inner.here is not None:
                    names.names["here"] = inner.here
                self._call(call, None, names, inner, step.span)
        site.here = inner.here

    @contextlib.contextmanager
    def repeated(self, count: int) -> Iterator[None]:
        """What is placed meanwhile is placed `count` times."""
        before, self._times = self._times, self._times * count
        try:
            yield
        finally:
            self._times = before

    def _call(self, call: s.Call, component: str | None, env: Env, site: Site, span: Span) -> None:
        if call.name in STRUCTURES:
            self._structures.place(call, self._index(component, site), env, site, span)
            return
        if call.body is not None or call.branches is not None:
            message = f"`{call.name}` takes no body in braces"
            raise Mistake("E0112", message, call.name_span)
        layer = self.evaluate(s.Name(call.name_span, call.name), env)
        if layer is None:
            return
        if not isinstance(layer, Layer):
            message = f"{a_type(layer)} cannot be placed: `{call.name}` is not a layer"
            raise Mistake("E0214", message, call.name_span)
        bound = with_arguments(layer, self.evaluate.arguments(call.args, env)).bound
        component = self._index(component, site)
        if isinstance(layer.declaration, s.Primitive):
            self._primitive(layer, layer.declaration, bound, component, env, site, call, span)
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
        span: Span,
    ) -> None:
        inner = Env(layer.home, {}, env.ambients)
        where = self.evaluate.bind(decl, bound, inner, call.span)
        if decl.name == "identity" and component is None and site.here is not None:
            return
        kind = PRIMITIVES[decl.name]
        if isinstance(site.here, Poison):
            self._check_alone(kind, inner.names, where, call)
        operand = one_tensor(site.here, f"`{call.name}`", call.name_span)
        try:
            op = kind.place((operand.type,), **inner.names)
            site.here = self.record.place(
                op,
                (operand,),
                path=site.path,
                component=component,
                scope=site.scope,
                span=span,
                opened=site.opened,
            )
        except OpError as error:
            made = Label(self.record.ops[operand.id].span, f"gives {operand.type}")
            mapped = as_map(self.record.ops, operand) if error.code == "E0409" else None
            raise _op_mistake(error, where, call, made, advice=mapped) from None

    def _check_alone(
        self, kind: type[Op], values: dict[str, object], where: dict[str, Span], call: s.Call
    ) -> NoReturn:
        """What is wrong with the arguments whatever flows here; nothing else is said."""
        try:
            kind.check(**values)
        except OpError as error:
            raise _op_mistake(error, where, call) from None
        raise Poisoned

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
        door = site.here
        place = open_block(self.record, decl.name, component, site, call.span)
        what = f"in block `{decl.name}`"
        place.opened = Opened(what, call.name_span, layer.home, site.opened)
        with self._active(call, decl, site, call.name_span):
            if component is None or not self.replay.enabled:
                self._run(decl.body, inner, place)
            else:
                values = {param.name: inner.names[param.name] for param in decl.params}
                key = key_of(decl, values, door, env.ambients)
                active = [each.call for each in self.entered[:-1]]
                if not self.replay.copied(key, place, active):
                    with self.replay.recording(key, env.ambients, place):
                        self._run(decl.body, inner, place)
        site.here = place.here

    @contextlib.contextmanager
    def _active(
        self, call: s.Call, decl: s.Block | s.Shortcut, site: Site, span: Span
    ) -> Iterator[None]:
        """What a call opens is being elaborated. A `residual` opens the policy that it runs."""
        self._refuse_again(call, decl, span)
        if isinstance(decl, s.Block) and site.depth >= MAX_BLOCK_DEPTH:
            message = f"stopped {MAX_BLOCK_DEPTH} blocks deep"
            raise Abandon("E0604", message, span)
        self.entered.append(Entered(call, decl, self._times))
        self.replay.entered(call)
        times, self._times = self._times, 1
        try:
            yield
        finally:
            self._times = times
            self.entered.pop()

    def _refuse_again(self, call: s.Call, decl: s.Block | s.Shortcut, span: Span) -> None:
        """A call site may not be active inside itself: this is why every elaboration ends."""
        calls = [each.call for each in self.entered]
        if not any(each is call for each in calls):
            return
        inside = self.entered[calls.index(call) :]
        circle = " -> ".join([*(each.decl.name for each in inside), decl.name])
        kind = "block" if isinstance(decl, s.Block) else "shortcut"
        note = "blocks may not recurse; use `* n` or `for`"
        if kind == "shortcut":
            note = "what a shortcut places has another shortcut, such as `residual(shortcut=plain)`"
        message = f"{kind} `{decl.name}` would contain itself"
        raise Mistake("E0408", message, span, circle, notes=(note,))


def _op_mistake(
    error: OpError,
    where: dict[str, Span],
    call: s.Call,
    *made: Label,
    advice: Help | None = None,
) -> Mistake:
    span = where.get(error.argument or "", call.name_span)
    told = advice or (None if error.advice is None else Help(error.advice))
    return Mistake(error.code, error.message, span, secondary=made, notes=error.notes, help=told)
