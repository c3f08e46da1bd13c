"""Runs a network's text: blocks are opened, repeats unrolled, shapes followed, names given.

One pass over the statements, a tensor flowing through them. A mistake is recorded, the tensor
becomes poison, and the pass goes on, so that all independent mistakes come out together.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from resnetc.diagnostics import CompileError, Diagnostic, Help, Instance, Label, Span, suggest
from resnetc.lang import syntax as s
from resnetc.lang.budget import TOO_MUCH, room
from resnetc.lang.convert import checked
from resnetc.lang.effects import watch, without_effect
from resnetc.lang.evaluate import Env, Evaluator
from resnetc.lang.facts import Facts
from resnetc.lang.mending import begin_with_input, culprit
from resnetc.lang.mistake import Abandon, Mistake, Poisoned
from resnetc.lang.multiplied import multiplied
from resnetc.lang.observe import Observer
from resnetc.lang.place import Placer
from resnetc.lang.record import CheckedNetwork, Recorder
from resnetc.lang.requirement import unmet
from resnetc.lang.site import Site
from resnetc.lang.structures import one_tensor
from resnetc.lang.values import POISON, Poison, Tensor, show, type_name
from resnetc.lang.variants import Derived
from resnetc.ops.layout import Input
from resnetc.shapes import TensorType

MAX_FINDINGS = 200
"""Mistakes after which a network is not followed any further: a mistake in a block comes up again
wherever the block is placed."""
_OUTWARD = (s.Aux, s.Expect, s.Meta, s.InputStmt, s.OutputStmt)
"""Statements that say something of the network, wherever they stand."""


class WrongFactsError(CompileError):
    """Nothing is wrong but what `network` says of itself by `expect` and `meta`."""

    def __init__(self, findings: list[Diagnostic], network: CheckedNetwork) -> None:
        super().__init__(findings)
        self.network = network


class Elaborator:
    """Elaborates one network. `findings` fills as it goes; `observe` is told of every step."""

    def __init__(
        self, derived: Derived, evaluator: Evaluator, observe: Observer | None = None
    ) -> None:
        self.derived = derived
        self.evaluate = evaluator
        self.record = Recorder(evaluator.budget)
        self.findings: list[Diagnostic] = []
        self.facts = Facts(derived, evaluator, self._report)
        self.outputs: dict[str, int] = {}
        self.aux: dict[str, int] = {}
        self._listed: dict[str, Span] = {}
        self._labels: set[str] = set()
        self._named: dict[str, Span] = {}
        self._placer = Placer(evaluator, self.record, self._statements, observe)
        self._settings: dict[str, s.Setting] = {}
        self._overrides: dict[str, object] = {}
        self._by_type: dict[type[s.Stmt], Callable[[Any, Env, Site], None]] = {
            s.Chain: self._placer.chain,
            s.Aux: self._aux,
            s.Shape: self._shape,
            s.Let: self._let,
            s.Set: self._set,
            s.If: self._if,
            s.For: self._for,
            s.Require: self._require,
            s.Expect: self.facts.expect,
            s.Meta: self.facts.meta,
            s.InputStmt: self._input,
            s.OutputStmt: self._output,
        }

    # ---- the network

    @room()
    def run(self) -> CheckedNetwork:
        """The elaborated network. Raises CompileError with every mistake, WrongFactsError where
        they leave the network whole."""
        decl, home = self.derived.template.decl, self.derived.template.home
        assert isinstance(decl, s.Network)
        env = Env(home, {}, dict(self.derived.ambients))
        scope = self.record.open_block(None, "", decl.name, decl.name_span)
        site = Site(None, scope, "")
        try:
            self._body(decl, env, site)
            self._facts(env, site)
        except Abandon as error:
            self._report(error, site)
            raise CompileError(self.findings) from None
        if (clash := self.record.clash()) is not None:
            self._report(clash, site)
        if self._is_whole:
            overrides, settings = self._overrides, self._settings
            self.findings += without_effect(self.derived, self.evaluate, overrides, settings)
        if not self._is_whole:
            raise CompileError(self.findings)
        network = self._network()
        if self.findings:
            raise WrongFactsError(self.findings, network)
        return network

    @property
    def _is_whole(self) -> bool:
        """Whether nothing is wrong but facts, which nothing depends on."""
        return len(self.findings) == self.facts.wrong

    def _network(self) -> CheckedNetwork:
        record = self.record
        ops, blocks = tuple(record.ops), tuple(record.blocks)
        claims = () if self.derived.rebound else tuple(self.facts.expectations)
        name, shared = self.derived.name, frozenset(record.shared)
        outputs, features = self.outputs, tuple(self._listed.items()) if self._labels else ()
        return CheckedNetwork(
            name,
            ops,
            blocks,
            outputs,
            self.aux,
            self.facts.noted,
            claims,
            shared,
            features,
            tuple(record.copies),
        )

    def _body(self, decl: s.Network, env: Env, site: Site) -> None:
        """Bind the parameters and run the statements; what comes after may go on without them."""
        try:
            self._bind_network(decl, env)
            self._statements(decl.body, env, site)
            self._finish_output(site, decl)
        except Abandon:
            raise
        except Mistake as error:
            self._report(error, site)
        except Poisoned:
            pass

    def _bind_network(self, decl: s.Network, env: Env) -> None:
        """Bind the parameters; one named like an ambient sets that ambient for the body."""
        self.evaluate.watch = watch(self.derived)
        self.evaluate.bind(decl, self.derived.bound, env, self.derived.span)
        for param in {param.name: param for param in decl.params}.values():
            definition = env.home.names.get(param.name)
            if definition is not None and isinstance(definition.decl, s.Ambient):
                value = env.names.pop(param.name)
                env.ambients[param.name] = checked(value, definition.decl.type, param.span)
        self._overrides = {name: env.ambients[name] for name in self.derived.ambient_spans}

    def _finish_output(self, site: Site, decl: s.Network) -> None:
        if self.outputs or isinstance(site.here, Poison):
            return
        if site.here is None:
            message = f"network `{decl.name}` places no layer"
            raise Mistake("E0410", message, decl.name_span, help="begin with `input 3x224x224`")
        here = one_tensor(site.here, f"the end of `{decl.name}`", decl.name_span)
        self._give("logits", here, decl.name_span)

    def _facts(self, env: Env, site: Site) -> None:
        """The variant's own `expect` and `meta`."""
        fact_env = Env(self.derived.home)
        if self.derived.outputs:
            self._listed.clear()  # what the template gives counts no more
        for output, home in self.derived.outputs:
            self._statement(output, Env(home), site)
        for fact in self.derived.facts:
            self._statement(fact, fact_env, site)

    # ---- statements

    def _statements(self, body: s.Body, env: Env, site: Site) -> None:
        bodies = self._placer.reuse.bodies
        bodies.append(body)
        for statement in body.statements:
            self._statement(statement, env, site)
            if site.here is not None:
                env.names["here"] = site.here
        bodies.pop()

    def _statement(self, statement: s.Stmt, env: Env, site: Site) -> None:
        budget = self.evaluate.budget
        budget.enter(statement.span)
        if isinstance(statement, _OUTWARD):
            self._placer.replay.acted()
        try:
            self._by_type[type(statement)](statement, env, site)
        except Abandon as error:
            if not error.located:
                found = self._multiplied(self._located(error.diagnostic, site))
                error.diagnostic, error.located = found, True
            raise
        except Mistake as error:
            self._report(error, site)
            self._poison(statement, env, site)
        except Poisoned:
            self._poison(statement, env, site)
        finally:
            budget.levels -= 1

    def _multiplied(self, found: Diagnostic) -> Diagnostic:
        """A finding of too much, told of the blocks that come to it in the place of a long path."""
        if found.code not in TOO_MUCH:
            return found
        decl = self.derived.template.decl
        assert isinstance(decl, s.Network)
        chain = multiplied(self.derived.name, decl, self._placer.entered)
        if chain is None:
            return found
        return replace(found, notes=(chain, *found.notes), instance=None)

    def _poison(self, statement: s.Stmt, env: Env, site: Site) -> None:
        """What the statement would have defined is poison now."""
        self._placer.reuse.lose(statement, site)
        if isinstance(statement, s.Let):
            env.names.update(dict.fromkeys(statement.targets, POISON))
        elif isinstance(statement, s.Chain):
            site.here = POISON
            for bind in (bind for step in statement.steps for bind in step.binds):
                env.names[bind.name] = POISON
        elif isinstance(statement, s.If | s.For | s.InputStmt):
            site.here = POISON

    def _report(self, mistake: Mistake, site: Site) -> None:
        done = isinstance(mistake, Abandon) and mistake.located
        for found in mistake.diagnostics:
            self._add(found, site, located=done)

    def _add(self, found: Diagnostic, site: Site, *, located: bool) -> None:
        decl = self.derived.template.decl
        assert isinstance(decl, s.Network)
        if found.code in ("E0410", "E0412") and found.help and not self.record.ops:
            found = replace(found, help=begin_with_input(decl.body, found.help))
        self.findings.append(found if located else self._located(found, site))
        if len(self.findings) >= MAX_FINDINGS:
            raise CompileError(self.findings)

    def _located(self, found: Diagnostic, site: Site) -> Diagnostic:
        """The finding, and in which instance it arose where the place does not say it."""
        found = site.located(found)
        inside = self._is_inside(found.primary.span)
        if not site.path and inside:
            return found
        placed = site.opened.span if site.opened is not None else None
        blamed = found.primary.span
        if placed is not None and placed.source is blamed.source and placed.line == blamed.line:
            placed = None  # the excerpt shows that line
        via = "" if inside else self.derived.via
        return replace(found, instance=Instance(self.derived.name, site.path, placed, via))

    def _is_inside(self, span: Span) -> bool:
        """Whether a place is in the text of this very network."""
        return self.derived.declared.holds(span)

    def _let(self, let: s.Let, env: Env, site: Site) -> None:
        self.evaluate.let(let, env)

    def _set(self, statement: s.Set, env: Env, site: Site) -> None:
        for setting in statement.settings:
            definition = env.home.names.get(setting.name)
            if definition is None or not isinstance(definition.decl, s.Ambient):
                message = f"`{setting.name}` is not an ambient, so it cannot be set"
                close = suggest(setting.name, env.home.ambients)
                own = f"for a name of your own: `let {setting.name} = ...`"
                word = Span(statement.span.source, statement.span.start, statement.span.start + 3)
                alone = len(statement.settings) == 1
                advice = Help(own, word, "let", sure=False) if alone else Help(own)
                if close:
                    advice = Help(f"did you mean `{close}`?", setting.name_span, close)
                raise Mistake("E0213", message, setting.name_span, help=advice)
            value = self.evaluate(setting.value, env)
            value = checked(value, definition.decl.type, setting.value.span)
            env.ambients = {**env.ambients, setting.name: value}
            self._settings.setdefault(setting.name, setting)

    def _if(self, statement: s.If, env: Env, site: Site) -> None:
        test = self.evaluate.typed(statement.test, env, bool, "bool")
        body = statement.then if test else statement.orelse
        if body is not None:
            self._statements(body, env.child(), site)

    def _for(self, statement: s.For, env: Env, site: Site) -> None:
        items = self.evaluate.items(statement.iterable, env)
        with self._placer.repeated(len(items)):
            for item in items:
                inner = env.child()
                if site.here is not None:
                    inner.names["here"] = site.here
                self.evaluate.assign(statement.targets, item, inner, statement.iterable.span)
                self._statements(statement.body, inner, site)

    def _require(self, statement: s.Require, env: Env, site: Site) -> None:
        if self.evaluate.typed(statement.test, env, bool, "bool"):
            return
        raise unmet(statement, env, self.evaluate)

    def _input(self, statement: s.InputStmt, env: Env, site: Site) -> None:
        shape = self.evaluate(statement.value, env)
        if isinstance(shape, int) and not isinstance(shape, bool):
            shape = (shape,)
        if isinstance(shape, list) and shape and all(type(extent) is int for extent in shape):
            shape = tuple(shape)
        if not isinstance(shape, tuple):
            message = f"an input is a shape such as 3x224x224, not {type_name(shape)}"
            raise Mistake("E0301", message, statement.value.span)
        if min(shape) < 1:
            message = f"every extent of an input is at least 1, and this is {show(shape)}"
            raise Mistake("E0301", message, statement.value.span)
        if site.here is not None:
            raise Mistake("E0411", "a network has one `input`, before all layers", statement.span)
        op = Input(TensorType(shape))
        site.here = self.record.place(
            op, (), path="", component="input", scope=site.scope, span=statement.span
        )
        env.names["input"] = site.here

    def _output(self, statement: s.OutputStmt, env: Env, site: Site) -> None:
        """Tensors by their names, and labels, whose values are looked up on the graph."""
        for value in statement.values:
            tensor = self.evaluate(value, env)
            if isinstance(tensor, str):
                self._listed.setdefault(tensor, value.span)
                self._labels.add(tensor)
                continue
            if not isinstance(tensor, Tensor):
                message = f"an output is a tensor, not {type_name(tensor)}"
                raise Mistake("E0301", message, value.span)
            name = value.name if isinstance(value, s.Name) else f"output{len(self.outputs)}"
            self._give(name, tensor, value.span)
            self._listed[name] = value.span

    def _give(self, name: str, tensor: Tensor, span: Span) -> None:
        """Make a tensor an output."""
        if self.outputs.get(name) != tensor.id:
            self._name_output(name, span)
        self.outputs[name] = tensor.id

    def _name_output(self, name: str, span: Span) -> None:
        first = self._named.setdefault(name, span)
        if first is not span:
            other = (Label(first, "first"),)
            raise Mistake("E0206", f"two outputs would be called `{name}`", span, secondary=other)

    def _aux(self, statement: s.Aux, env: Env, site: Site) -> None:
        """Place a head beside what flows here; its end is an output of training only."""
        first = statement.chain.steps[0]
        if first.label is None:
            message = "an auxiliary output is called like its first layer, which has no label"
            raise Mistake("E0115", message, first.span, help="for example `aux aux1: ...`")
        place, inner = site.branch(site.here), env.child()
        name = self._placer.component(first, inner)
        assert name is not None
        self._placer.chain(statement.chain, inner, place)
        if place.here is site.here or isinstance(place.here, Poison):
            return  # A head that is `none` gives nothing.
        end = one_tensor(place.here, f"the output `{name}`", statement.span)
        self._name_output(name, first.label.span)
        self.aux[name] = end.id

    def _shape(self, statement: s.Shape, env: Env, site: Site) -> None:
        value = self.evaluate(statement.value, env)
        expected = [value] if isinstance(value, int) else value
        if not isinstance(expected, tuple | list):
            message = f"a shape is written 56x56 or [classes], not {type_name(value)}"
            raise Mistake("E0301", message, statement.value.span)
        if isinstance(site.here, Poison):
            return
        here = one_tensor(site.here, "`=>`", statement.span)
        found = here.type.shape
        if tuple(expected) != found[len(found) - len(expected) :]:
            shown = "x".join(map(show, expected))
            message = f"the tensor here is {here.type}, not {shown}"
            made, advice = culprit(self.record.ops, here, tuple(expected), statement.value.span)
            label = "expected by this line"
            span = statement.value.span
            raise Mistake("E0403", message, span, label, secondary=(made,), help=advice)
