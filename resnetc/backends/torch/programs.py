"""What one module does: its members and the steps of its `forward`, in numbered values.

Programs of two instances of a block are compared piece by piece, so nothing in them but the
leaves of terms speaks of one instance.
"""

from __future__ import annotations

from dataclasses import dataclass

from resnetc.backends.torch.emitters import EMITTERS, layer_term
from resnetc.backends.torch.terms import SequenceHead, Shape, Term, run_lengths
from resnetc.backends.torch.tree import Module, module_path
from resnetc.backends.torch.values import Values
from resnetc.diagnostics import InternalError
from resnetc.ir import Graph, Node
from resnetc.ops import Add, Relu

Path = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Member:
    """A child and how it is made. The empty path is the module itself: a layer it extends."""

    path: Path
    term: Term

    def shape(self) -> Shape:
        return self.path, self.term.shape()


@dataclass(frozen=True, slots=True)
class Step:
    """A member called, or with a `term` an op that needs no member.

    Values are numbered: the module's inputs first, then every step's results. `overwrites` is the
    operand that a sum may be added into. A step of `training` is not taken in evaluation; only a
    network has such steps. `note` is the type of the result.
    """

    operands: tuple[int, ...]
    results: tuple[int, ...]
    member: Path | None = None
    term: Term | None = None
    overwrites: int | None = None
    training: bool = False
    note: str = ""

    def call(self) -> Shape:
        """What is called, whatever with."""
        return self.member, None if self.term is None else self.term.shape(), len(self.results)


@dataclass(frozen=True, slots=True)
class Program:
    """A module's members in order of registration, and its steps."""

    inputs: tuple[str, ...]
    members: tuple[Member, ...]
    steps: tuple[Step, ...]
    outputs: tuple[int, ...]
    in_channels: int
    out_channels: int

    def shape(self) -> Shape:
        """Equal for two programs that differ in leaves alone."""
        members = tuple(member.shape() for member in self.members)
        steps = tuple((step.call(), step.operands) for step in self.steps)
        return self.inputs, members, steps, self.outputs

    @property
    def terms(self) -> tuple[Term, ...]:
        """All terms, in the order in which their leaves are compared."""
        members = tuple(member.term for member in self.members)
        return members + tuple(step.term for step in self.steps if step.term is not None)


class Programs:
    """Makes the program of any module once the blocks in it have classes, given in `placed`."""

    def __init__(self, graph: Graph, values: Values) -> None:
        self.placed: dict[Module, Term] = {}
        self._graph = graph
        self._values = values

    def term(self, module: Module) -> Term:
        """The call that makes a module."""
        if module.repeats is not None:
            return self.term(module.repeats)
        if not self.is_sequence(module):
            return self.placed[module]
        children = [self._item_term(module, item) for item in module.items]
        return Term(SequenceHead(), run_lengths(children))

    def program(self, module: Module) -> Program:
        """What a module does."""
        number = {value: place for place, value in enumerate(module.reads)}
        steps: list[Step] = []
        for item in module.items:
            step = self._step(module, item, number)
            if step is not None:
                steps.append(step)
        inputs = self._input_names(module)
        members: dict[Path, Member] = {}
        for item in module.items:
            path = self._member_path(module, item)
            if path is not None and path not in members:
                members[path] = Member(path, self._item_term(module, item))
        outputs = tuple(number[value] for value in module.results)
        ends = [ids[0] if ids else None for ids in (module.reads, module.results)]
        widths = [0 if end is None else self._graph[end].type.shape[0] for end in ends]
        return Program(inputs, tuple(members.values()), tuple(steps), outputs, *widths)

    def is_sequence(self, module: Module) -> bool:
        """Whether a module is an `nn.Sequential`: an indexed chain, used from end to end."""
        if module.scope.block != "seq" or len(module.reads) != 1 or module.scope.parent is None:
            return False
        at = module.reads[0]
        for place, item in enumerate(module.items):
            path = self._member_path(module, item)
            if path not in (None, (str(place),)) or self._entry(item) != at:
                return False
            at = item.results[0] if isinstance(item, Module) else self._values.source[item.id]
        return module.results == (at,)

    def _entry(self, item: Node | Module) -> int | None:
        """The one value an item of a chain reads; None where there are more, or more results."""
        if isinstance(item, Module):
            return item.reads[0] if len(item.reads) == len(item.results) == 1 else None
        operands = self._values.operands(item)
        emitter = EMITTERS[type(item.op)]
        callable_ = emitter.module and not emitter.parameter
        return operands[0] if len(operands) == 1 and callable_ else None

    def _item_term(self, module: Module, item: Node | Module) -> Term:
        if isinstance(item, Module):
            return self.term(item)
        overwrites = self.overwritten(module, item) is not None
        return layer_term(item.op, self._graph.operands(item)[0], overwrites=overwrites)

    def overwritten(self, module: Module, node: Node) -> int | None:
        """The operand that a node may write over. A module leaves its caller's tensors alone."""
        if isinstance(node.op, Add) and len(node.inputs) != 2:
            return None
        if not isinstance(node.op, Add | Relu):
            return None
        for index, operand in enumerate(self._values.operands(node)):
            if operand not in module.reads and self._values.may_overwrite(node, index):
                return index
        return None

    def _member_path(self, module: Module, item: Node | Module) -> Path | None:
        """Where an item is registered under a module; None for an op without parameters."""
        path = item.scope.path if isinstance(item, Module) else module_path(item)
        if path is None:
            return None
        above = module.scope.path
        if path == above:
            return ()
        if above and not path.startswith(f"{above}."):
            raise InternalError(f"{path} does not lie in {above}")
        return tuple(path[len(above) + 1 if above else 0 :].split("."))

    def _step(self, module: Module, item: Node | Module, number: dict[int, int]) -> Step | None:
        """The step an item takes, its results numbered; None where there is nothing to compute."""
        if isinstance(item, Module):
            if not item.results:
                return None
            operands = tuple(number[value] for value in item.reads)
            results = item.results
        else:
            if not self._values.computed(item):
                return None
            operands = tuple(number[value] for value in self._values.operands(item))
            results = (item.id,)
        for value in results:
            number[value] = len(number)
        made = tuple(number[value] for value in results)
        note = str(self._graph[results[0]].type)
        member = self._member_path(module, item)
        # A module below the network's is of one mode, so its steps need not say which.
        training = module.scope.parent is None and results[0] in self._graph.training_only
        if isinstance(item, Module) or member is not None:
            return Step(operands, made, member=member, training=training, note=note)
        term = self._item_term(module, item)
        over = self.overwritten(module, item) if isinstance(item.op, Add) else None
        return Step(operands, made, None, term, over, training, note)

    def _input_names(self, module: Module) -> tuple[str, ...]:
        """What `forward` takes: the network's inputs by name where it has several, else x, y."""
        plain = ("x", "y", "z")
        if module.scope.parent is None and len(module.reads) > 1:
            return tuple(self._graph[value].name for value in module.reads)
        return tuple(
            plain[place] if place < len(plain) else f"x{place}"
            for place in range(len(module.reads))
        )
