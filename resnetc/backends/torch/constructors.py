"""Constructors: how a class makes and registers its members."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from resnetc.backends.torch.classes import BlockClass, Option
from resnetc.backends.torch.emitters import EMITTERS, Argument
from resnetc.backends.torch.layout import Call, Expression, ListOf, Prefixed, Repeat, Text, lines
from resnetc.backends.torch.names import MODULE_ATTRIBUTES, is_attribute
from resnetc.backends.torch.programs import Path
from resnetc.backends.torch.terms import (
    BlockHead,
    LayerHead,
    Leaf,
    Ref,
    RunHead,
    SequenceHead,
    Term,
    Value,
)
from resnetc.diagnostics import InternalError, UsageError

_WRITTEN_OUT = 2
"""Up to so many equal children in a row are written one by one."""


def literal(value: Value) -> str:
    """A number or string as Python source."""
    return json.dumps(value) if isinstance(value, str) else repr(value)


def leaf_text(leaf: Leaf, owner: BlockClass | None = None) -> str:
    """A leaf as it is written; a parameter by its name, or as an attribute of its owner."""
    if not isinstance(leaf.value, Ref):
        return literal(leaf.value)
    return leaf.value.name if owner is None else f"self.{owner.attribute(leaf.value.name)}"


def layer_arguments(term: Term, owner: BlockClass | None = None) -> tuple[Expression, ...]:
    """The arguments of a layer or an op, without those that are torch's default."""
    assert isinstance(term.head, LayerHead)
    emitter = EMITTERS[term.head.op]
    leaves = list(term.leaves())
    written: list[Expression] = []
    for argument, leaf in zip(emitter.arguments, leaves, strict=False):
        if not _is_default(argument, leaf):
            prefix = f"{argument.keyword}=" if argument.keyword else ""
            written.append(Text(prefix + leaf_text(leaf, owner)))
    if emitter.inplace and leaves[-1].value is True:
        written.append(Text("inplace=True"))
    return tuple(written)


def _is_default(argument: Argument, leaf: Leaf) -> bool:
    return argument.default is not None and leaf.value == argument.default


def _new_parameter(channels: Expression, start: Expression) -> Expression:
    """One number for each channel of a map."""
    shape = Text(f"({channels.flat()}, 1, 1)")
    return Call("nn.Parameter", (Call("torch.full", (shape, start)),))


def is_parameter(term: Term) -> bool:
    """Whether a member is a parameter and no module."""
    return isinstance(term.head, LayerHead) and EMITTERS[term.head.op].parameter


class Constructors:
    """Writes calls that make layers and blocks; `classes` are the emitted ones by number."""

    def __init__(self, classes: Sequence[BlockClass]) -> None:
        self._classes = classes

    def expression(self, term: Term) -> Expression:
        """The call that makes a module."""
        match term.head:
            case LayerHead(op):
                arguments = layer_arguments(term)
                if EMITTERS[op].parameter:
                    return _new_parameter(*arguments)
                scaled = any(a.flat().startswith("gamma=") for a in arguments)
                return Call("scaled_norm" if scaled else EMITTERS[op].module, arguments)
            case BlockHead(number):
                return Call(self._classes[number].name, tuple(self._block_arguments(term)))
            case SequenceHead():
                return Call("nn.Sequential", tuple(self.elements(term.children)), spread=True)
        raise InternalError(f"{term.head} makes no module")

    def elements(self, runs: Sequence[Term | Leaf]) -> Iterator[Expression]:
        """Children of a sequence, long runs as comprehensions."""
        for run in runs:
            assert isinstance(run, Term)
            assert isinstance(run.head, RunHead)
            count, child = run.children
            assert isinstance(count, Leaf)
            assert isinstance(child, Term)
            element = self.expression(child)
            if isinstance(count.value, int) and count.value <= _WRITTEN_OUT:
                yield from [element] * count.value
            else:
                yield Prefixed("*", Repeat(element, leaf_text(count)))

    def _block_arguments(self, term: Term) -> Iterator[Expression]:
        assert isinstance(term.head, BlockHead)
        parameters = self._classes[term.head.number].parameters
        for parameter, leaf in zip(parameters, term.leaves(), strict=True):
            if parameter.default is None:
                yield Text(leaf_text(leaf))
            elif leaf.value != parameter.default:
                yield Text(f"{parameter.name}={leaf_text(leaf)}")


@dataclass(frozen=True)
class _Target:
    """How a child is registered and how it is called."""

    before: str
    after: str
    access: str


class Registry:
    """Registers the members of one class; `access` says how `forward` reaches each."""

    def __init__(self, block: BlockClass, constructors: Constructors) -> None:
        self.block = block
        self.access: dict[Path, str] = {(): "self"}
        self._constructors = constructors
        self._terms = {member.path: member.term for member in block.program.members}
        self._layers = {p for p, term in self._terms.items() if isinstance(term.head, LayerHead)}
        self._parameters = {p for p, term in self._terms.items() if is_parameter(term)}
        self._lists = self._find_lists()
        self._optional = {name: o for o in block.options for name in o.members}
        self._done: set[Path | Option] = {()}

    @property
    def base(self) -> str:
        """What to extend: the layer whose parameters lie under the block's own path, if any."""
        extended = self._terms.get(())
        if extended is None:
            return "nn.Module"
        assert isinstance(extended.head, LayerHead)
        return EMITTERS[extended.head.op].module

    def lines(self, indent: int) -> Iterator[str]:
        """Statements that make and register all members."""
        extended = self._terms.get(())
        arguments = () if extended is None else layer_arguments(extended)
        gamma = [a.flat() for a in arguments if a.flat().startswith("gamma=")]
        plain = tuple(a for a in arguments if a.flat() not in gamma)
        yield from lines(Call("super().__init__", plain), indent)
        for number in gamma:
            value = Text(number.removeprefix("gamma="))
            yield from lines(Call("nn.init.constant_", (Text("self.weight"), value)), indent)
        for path in self._terms:
            yield from self._register(path, indent)

    def _register(self, path: Path, indent: int) -> Iterator[str]:
        if path in self._done:
            return
        yield from self._register(path[:-1], indent)
        if path[:-1] in self._lists:
            return
        option = self._optional.get(path[0])
        if option is not None and len(path) == 1:
            yield from self._register_option(option, indent)
        else:
            yield from self._register_here(path, indent)

    def _register_option(self, option: Option, indent: int) -> Iterator[str]:
        if option in self._done:
            return
        self._done.add(option)
        if option.marker is not None:
            yield f"{' ' * indent}self.{option.marker} = None"
        yield f"{' ' * indent}if {option.condition}:"
        for name in option.members:
            yield from self._register_here((name,), indent + 4)

    def _register_here(self, path: Path, indent: int) -> Iterator[str]:
        self._done.add(path)
        target = self._target(path)
        self.access[path] = target.access
        term = self._terms.get(path)
        if path in self._lists:
            children = [(*path, str(index)) for index in range(self._lists[path])]
            made = [self._constructors.expression(self._terms[child]) for child in children]
            for index, child in enumerate(children):
                self.access[child] = f"{target.access}[{index}]"
                self._done.add(child)
            body: Expression = Call("nn.ModuleList", (ListOf(tuple(made)),))
        else:
            body = Call("nn.Module", ()) if term is None else self._constructors.expression(term)
        yield from lines(body, indent, target.before, target.after)

    def _target(self, path: Path) -> _Target:
        above, name = self.access[path[:-1]], path[-1]
        if name == "training":
            raise UsageError("PyTorch cannot have a module called `training`: label it otherwise")
        quoted = json.dumps(name, ensure_ascii=False)
        if path[:-1] in self._layers or name in MODULE_ATTRIBUTES or name[:1] in ("", "_"):
            # The one place that no attribute of torch's own can stand before.
            held = "_parameters" if path in self._parameters else "_modules"
            place = f"{above}.{held}[{quoted}]"
            return _Target(f"{place} = ", "", place)
        if is_attribute(name):
            return _Target(f"{above}.{name} = ", "", f"{above}.{name}")
        access = f"getattr({above}, {quoted})"
        add = "register_parameter" if path in self._parameters else "add_module"
        return _Target(f"{above}.{add}({quoted}, ", ")", access)

    def _find_lists(self) -> dict[Path, int]:
        """Paths without a layer whose children are layers called 0, 1, 2, ...: how many."""
        children: dict[Path, list[str]] = {}
        for path in self._terms:
            for end in range(1, len(path)):
                names = children.setdefault(path[:end], [])
                if path[end] not in names:
                    names.append(path[end])
        return {
            path: len(names)
            for path, names in children.items()
            if path not in self._terms
            and names == [str(index) for index in range(len(names))]
            and all((*path, name) in self._terms for name in names)
            and not any((*path, name) in self._parameters for name in names)
        }
