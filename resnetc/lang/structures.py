"""The structures of the language: `seq`, `group`, `residual`, the merges and `split`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial

from resnetc.diagnostics import Help, Label, Span, suggest
from resnetc.lang import syntax as s
from resnetc.lang.convert import checked
from resnetc.lang.evaluate import Env, Evaluator
from resnetc.lang.mending import as_residual
from resnetc.lang.mistake import Mistake, Poisoned
from resnetc.lang.record import Recorder, join
from resnetc.lang.site import Counter, Flowing, Opened, Site
from resnetc.lang.values import Layer, Poison, Policy, Tensor, type_name
from resnetc.ops import MERGES, PRIMITIVES, Op, OpError
from resnetc.shapes import TensorType

CONTAINERS = ("seq", "group")
JOINS = (*MERGES, "tuple")
STRUCTURES = (*CONTAINERS, "residual", *JOINS, "split")
Run = Callable[[s.Body, Env, Site], None]
"""Elaborates the statements of a body at a site."""
Call = Callable[[s.Call, str | None, Env, Site, Span], None]
"""Places a call: the component of its name, names in force, site, span."""
Enter = Callable[[s.Call, s.Shortcut, Site, Span], AbstractContextManager[None]]
"""Runs a policy for a `residual` at a site, asked for at a span."""
Refuse = Callable[[s.Call, s.Shortcut, Span], None]
"""Refuses a policy for a `residual` that is inside it."""


class Structures:
    """Places structures; `run` elaborates a body, `call` places a layer, `enter` runs a
    policy, and `refuse` one inside itself."""

    def __init__(
        self,
        evaluate: Evaluator,
        record: Recorder,
        run: Run,
        call: Call,
        enter: Enter,
        refuse: Refuse,
    ) -> None:
        self.evaluate = evaluate
        self.record = record
        self._run = run
        self._call = call
        self._enter = enter
        self._refuse = refuse

    def place(self, call: s.Call, component: str | None, env: Env, site: Site, span: Span) -> None:
        if call.name in CONTAINERS:
            place = open_block(self.record, call.name, component, site, span)
            place.counter = Counter() if call.name == "seq" else None
            self._no_arguments(call)
            self._run(self._body(call), env.child(), place)
            site.here = place.here
            return
        place = site.branch(site.here)
        if component is not None:
            place = open_block(self.record, call.name, component, site, span)
        if call.name == "residual":
            self._residual(call, env, place)
        elif call.name == "split":
            self._split(call, env, place)
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
            first = Span(call.span.source, call.body.span.start + 1, call.body.span.start + 1)
            advice = Help("add `|`", first, " |")
            raise Mistake("E0112", message, call.name_span, help=advice)
        if call.branches is None:
            if isinstance(site.here, Poison):
                raise Poisoned
            if not isinstance(site.here, list):
                raise Mistake("E0112", f"`{call.name}` needs branches", call.name_span)
            ends = [(tensor, self.record.made(tensor)) for tensor in site.here]
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
                self._run(branch.body, inner, place)
                for tensor in place.here if isinstance(place.here, list) else [place.here]:
                    if isinstance(tensor, Tensor):
                        yield tensor, branch.span
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
        if name == "tuple":
            site.here = [tensor for tensor, _ in ends]
            return
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
            advice = None if error.advice is None else Help(error.advice)
            if span.text == "add":
                advice = as_residual(span, [where for _, where in ends])
            raise Mistake(error.code, error.message, span, secondary=labels, help=advice) from None

    def _split(self, call: s.Call, env: Env, site: Site) -> None:
        """Cut the channels into equal parts, which flow on side by side."""
        if call.body is not None or call.branches is not None:
            raise Mistake("E0112", "`split` takes no body in braces", call.name_span)
        if len(call.args) != 1 or call.args[0].name not in (None, "parts"):
            message = "`split` takes one argument, the number of parts"
            raise Mistake("E0205", message, call.span, notes=("split(parts: int)",))
        span = call.args[0].value.span
        parts = self.evaluate.typed(call.args[0].value, env, int, "int")
        if parts < 1:
            raise Mistake("E0406", f"`parts` must be at least 1, not {parts}", span)
        if isinstance(site.here, Poison):
            raise Poisoned
        whole = one_tensor(site.here, "`split`", call.name_span)
        channels = whole.type.shape[0]
        if channels % parts:
            made = Label(self.record.ops[whole.id].span, f"gives {whole.type}")
            message = f"{channels} channels cannot be split into {parts} equal parts"
            raise Mistake("E0406", message, span, secondary=(made,))
        place = partial(
            self.record.place, path=site.path, component=None, scope=site.scope, span=call.span
        )
        cut = PRIMITIVES["slice_channels"]
        width = channels // parts
        site.here = []
        for start in range(0, channels, width):
            op = cut.place((whole.type,), start=start, stop=start + width)
            site.here.append(place(op, (whole,), opened=site.opened))

    def _residual(self, call: s.Call, env: Env, site: Site) -> None:
        settings = self._residual_settings(call, env)
        policy, policy_span = settings["shortcut"]
        if isinstance(policy, Policy):
            self._refuse(call, policy.declaration, policy_span)
        before = site.here
        place = site.branch(before)
        body = self._body(call)
        self._run(body, env.child(), place)
        if isinstance(place.here, Poison) or isinstance(before, Poison):
            raise Poisoned
        before = one_tensor(before, "`residual`", call.name_span)
        after = one_tensor(place.here, "the end of a `residual`", call.name_span)
        wanted = s.TypeExpr(policy_span, "shortcut", optional=True)
        policy = checked(policy, wanted, policy_span)
        ends = [(after, body.span)]
        if isinstance(policy, Policy):
            with self._enter(call, policy.declaration, site, policy_span):
                ends += self._shortcut(policy, before, after, env, site, policy_span)
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
                raise _unknown_argument(arg)
        settings: dict[str, tuple[object, Span]] = {}
        for name in ("shortcut", "act"):
            expr = given[name].value if name in given else s.Name(call.name_span, name)
            settings[name] = self.evaluate(expr, env), expr.span
        return settings

    def _shortcut(
        self, policy: Policy, before: Tensor, after: Tensor, env: Env, site: Site, where: Span
    ) -> list[tuple[Tensor, Span]]:
        """Run a policy between the two tensors it has to reconcile; it was asked for at `where`."""
        inner = Env(policy.home, {}, env.ambients)
        self.evaluate.bind(policy.declaration, policy.bound, inner, where)
        inner.names.update(
            input=before,
            here=before,
            output=after,
            stride=_spatial_ratio(before.type, after.type),
            changed=before.type != after.type,
        )
        place = site.branch(before)
        what = f"shortcut `{policy.declaration.name}`, from {before.type} to {after.type}"
        place.opened = Opened(what, where, policy.home, site.opened)
        return list(self._branches(policy.declaration.branches, inner, place))


def one_tensor(here: Flowing, what: str, span: Span) -> Tensor:
    """The one tensor that flows; one in a list counts. Raises Mistake for several and for none."""
    if isinstance(here, Tensor):
        return here
    if isinstance(here, list):
        if len(here) == 1:
            return here[0]
        message = f"{what} takes one tensor, not {len(here)}"
        raise Mistake("E0413", message, span, help="join them with add or concat")
    message = "there is no tensor here yet"
    raise Mistake("E0412", message, span, help="begin with `input 3x224x224`")


def _unknown_argument(arg: s.Arg) -> Mistake:
    note = "residual(act: layer? = act, shortcut: shortcut = shortcut)"
    if arg.name is None:
        message = "`residual` takes named arguments only"
        return Mistake("E0203", message, arg.span, notes=(note,))
    close = suggest(arg.name, ("act", "shortcut"))
    span = Span(arg.span.source, arg.span.start, arg.span.start + len(arg.name))
    advice = Help(f"did you mean `{close}`?", span, close) if close else None
    message = f"`residual` has no parameter `{arg.name}`"
    return Mistake("E0203", message, span, notes=(note,), help=advice)


def open_block(record: Recorder, block: str, component: str | None, site: Site, span: Span) -> Site:
    """A site inside a new module; without a component it shares the outer one's path."""
    path = site.path if component is None else join(site.path, component)
    scope = record.open_block(site.scope, path, block, span)
    return Site(site.here, scope, path, None, site.depth + 1, site.opened)


def _spatial_ratio(before: TensorType, after: TensorType) -> int | tuple[int, int]:
    """How many pixels of the input stand for one of the output: one int where square."""
    if len(before.shape) != 3 or len(after.shape) != 3:
        return 1
    ratio = tuple(-(-b // a) for b, a in zip(before.shape[1:], after.shape[1:], strict=True))
    return ratio[0] if ratio[0] == ratio[1] else (ratio[0], ratio[1])
