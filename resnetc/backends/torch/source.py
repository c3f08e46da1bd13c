"""A graph as the source of a Python module that needs torch alone."""

from __future__ import annotations

import graphlib
import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import PurePath

from resnetc.backends.torch.classes import BlockClass, Parameter, generalise
from resnetc.backends.torch.constructors import Constructors, Registry, literal
from resnetc.backends.torch.forward import Forward
from resnetc.backends.torch.helpers import HELPERS, helpers_for
from resnetc.backends.torch.layout import Call, Text, lines
from resnetc.backends.torch.names import Namespace, class_name, function_name, is_attribute
from resnetc.backends.torch.programs import Programs
from resnetc.backends.torch.sequences import constructor, sequence
from resnetc.backends.torch.terms import BlockHead, Ref, Term
from resnetc.backends.torch.tree import Module, module_tree
from resnetc.backends.torch.values import Values
from resnetc.backends.torch.variants import families
from resnetc.ir import Graph
from resnetc.ops import ChannelConv1d, ChannelScale, ConvTranspose2d, Role
from resnetc.recipes import HeNormal
from resnetc.shapes import DType
from resnetc.version import __version__

Key = tuple[str, int]
"""Modules of one key are tried for one class: the block's name, and a height where blocks nest in
themselves."""


def emit_source(
    graph: Graph, init: HeNormal | None = None, *, weights_file: str | None = None
) -> str:
    """The network as readable Python: a class for each block, one for the network, a factory.

    `state_dict` keys are the graph's parameter paths. Weights start as `init` says, by default
    from He normal, fan in; layers have the element types of their parameters in the graph. The
    docstring says how to load a `weights_file` beside it. Raises UsageError for a label that torch
    cannot bear.
    """
    writer = _Writer(graph)
    classes = writer.classes()
    body = "\n\n".join(writer.class_source(block) for block in classes)
    factory = writer.factory_source(classes[-1])
    start = _initialise_source(graph, init or HeNormal())
    text = "\n\n".join([*helpers_for(body), body, start, factory])
    return f"{writer.header(weights_file)}\n{_imports(text)}\n\n{text}"


def factory_name(graph: Graph) -> str:
    """The function of the emitted source that makes the network."""
    return function_name(graph.name)


class _Writer:
    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        values = Values(graph)
        self._root = module_tree(graph, values)
        self._programs = Programs(graph, values)
        self._classes: list[BlockClass] = []
        self._constructors = Constructors(self._classes)
        self._names = Namespace([*HELPERS, "initialise", factory_name(graph)])

    # ------------------------------------------------------------------------------ classes

    def classes(self) -> list[BlockClass]:
        """All classes, each after those it uses; the network's is the last."""
        network = self._names.claim(class_name(self.graph.name))
        for key, modules in self._by_key().items():
            programs = [self._programs.program(module) for module in modules]
            for family in families(programs):
                root = modules[0] is self._root
                name = network if root else self._names.claim(class_name(key[0]))
                block = generalise(family, programs, name, self.graph.name if root else key[0])
                number = len(self._classes)
                self._classes.append(block)
                for place, instance in enumerate(sorted(family.instances)):
                    term = Term(BlockHead(number), block.arguments(place))
                    self._programs.placed[modules[instance]] = term
        return self._classes

    def _by_key(self) -> dict[Key, list[Module]]:
        """Modules that need a class, by block, in an order in which inner blocks come first."""
        modules = [m for m in _inner_first(self._root) if not self._programs.is_sequence(m)]
        heights = self._heights()
        keys = {module: (self._block_name(module), 0) for module in modules}
        try:
            order = list(graphlib.TopologicalSorter(self._needs(modules, keys)).static_order())
        except graphlib.CycleError:
            keys = {module: (self._block_name(module), heights[module]) for module in modules}
            order = list(graphlib.TopologicalSorter(self._needs(modules, keys)).static_order())
        found: dict[Key, list[Module]] = {key: [] for key in order}
        for module in sorted(modules, key=lambda m: m.scope.id):
            found[keys[module]].append(module)
        return found

    def _needs(self, modules: list[Module], keys: dict[Module, Key]) -> dict[Key, set[Key]]:
        """For each key the keys of blocks that stand directly in its blocks."""
        needs: dict[Key, set[Key]] = {keys[module]: set() for module in modules}
        inside: dict[Module, set[Key]] = {}
        for module in _inner_first(self._root):
            found = {key for inner in module.modules for key in inside[inner]}
            inside[module] = {keys[module]} if module in keys else found
            if module in keys:
                needs[keys[module]] |= found
        return needs

    def _heights(self) -> dict[Module, int]:
        heights: dict[Module, int] = {}
        for module in _inner_first(self._root):
            heights[module] = 1 + max((heights[inner] for inner in module.modules), default=0)
        return heights

    def _block_name(self, module: Module) -> str:
        """The block, or for a sequence that needs a class the label it was given."""
        if module is self._root:
            return ""
        if module.scope.block != "seq":
            return module.scope.block
        labels = [part for part in module.scope.path.split(".") if not part.isdigit()]
        return labels[-1] if labels else "sequence"

    # ------------------------------------------------------------------------------- source

    def header(self, weights_file: str | None) -> str:
        """The docstring that says what the file is, what it was made from and how to load its
        weights."""
        span = self.graph.scopes[0].span
        origin = "" if span is None else f" from {PurePath(span.source.name).name}"
        inputs = " and ".join(str(node.type) for node in self.graph.inputs)
        outputs = " and ".join(str(self.graph[i].type) for i in self.graph.outputs.values())
        return (
            f'"""{_one_line(self.graph.name)}: {inputs} in, {outputs} out.\n\n'
            f"Written by resnetc {__version__}{_one_line(origin)}; needs torch alone.\n"
            f"Graph {self.graph.hash}.\n{self._loading(weights_file)}"
            '"""\n'
        )

    def _loading(self, weights_file: str | None) -> str:
        if weights_file is None:
            return ""
        return (
            f"\nIts weights are in {weights_file}, which the package safetensors reads:\n\n"
            f"    module = {factory_name(self.graph)}()\n"
            f'    module.load_state_dict(safetensors.torch.load_file("{weights_file}"))\n'
        )

    def class_source(self, block: BlockClass) -> str:
        """One class statement."""
        network = block is self._classes[-1]
        layers = None if network else sequence(block)
        if layers is not None:
            return self._sequence_source(block, layers)
        registry = Registry(block, self._constructors)
        made = list(self._constructor(block, registry, network=network))
        forward = Forward(block, registry.access, commented=network)
        arguments = [n if is_attribute(n) else f"x{i}" for i, n in enumerate(block.program.inputs)]
        taken = (Text("self"), *(Text(f"{name}: Tensor") for name in arguments))
        outputs = list(self.graph.outputs) if network else []
        aux = list(self.graph.aux) if network else []
        result = _result_type(len(block.program.outputs) - len(aux), named=network)
        if aux:
            result = f"{result} | dict[str, Tensor]" if result == "Tensor" else result
        written = [
            f"class {block.name}({registry.base}):",
            f'    """{_docstring(block, network=network)}"""',
            "",
            *made,
            "",
            *lines(Call("def forward", taken), 4, after=f" -> {result}:"),
            *forward.lines(8, arguments, outputs, aux),
        ]
        return "\n".join(written) + "\n"

    def _sequence_source(self, block: BlockClass, layers: tuple[Term, ...]) -> str:
        """A class that is an `nn.Sequential` and computes as one."""
        parameters = (Text("self"), *map(_declaration, block.parameters))
        written = [
            f"class {block.name}(nn.Sequential):",
            f'    """{_docstring(block, network=False)}"""',
            "",
            *lines(Call("def __init__", parameters), 4, after=":"),
            *constructor(block, layers, self._constructors, 8),
        ]
        return "\n".join(written) + "\n"

    def _constructor(
        self, block: BlockClass, registry: Registry, *, network: bool
    ) -> Iterator[str]:
        parameters = (Text("self"), *map(_declaration, block.parameters))
        yield from lines(Call("def __init__", parameters), 4, after=":")
        yield from registry.lines(8)
        steps = (step.term for step in block.program.steps if step.term is not None)
        leaves = (leaf for term in steps for leaf in term.leaves())
        saved = dict.fromkeys(leaf.value.name for leaf in leaves if isinstance(leaf.value, Ref))
        for name in saved:
            yield f"        self.{block.attribute(name)} = {name}"
        for option in block.options:
            if option.marker is None:
                yield f"        self.{block.attribute(option.name)} = {option.condition}"
        if network:
            yield "        initialise(self)"

    def factory_source(self, network: BlockClass) -> str:
        """The function that makes the network, in the element types of the graph."""
        lines = [
            f"def {factory_name(self.graph)}() -> {network.name}:",
            f'    """{_one_line(self.graph.name)} with new weights."""',
        ]
        types = _module_types(self.graph)
        usual = Counter(types.values()).most_common(1)[0][0] if types else DType.F32
        if set(types.values()) <= {DType.F32}:
            lines.append(f"    return {network.name}()")
        else:
            lines.append(f"    network = {network.name}().to(torch.{usual.value})")
            lines += [
                f"    network.get_submodule({json.dumps(path)}).to(torch.{dtype.value})"
                for path, dtype in types.items()
                if dtype is not usual
            ]
            lines.append("    return network")
        return "\n".join(lines) + "\n"


def _module_types(graph: Graph) -> dict[str, DType]:
    """The element type of each module that holds parameters, by path."""
    return {
        parameter.path.rpartition(".")[0]: parameter.type.dtype
        for node in graph
        for parameter in node.parameters
        if parameter.role is not Role.COUNTER and not isinstance(node.op, ChannelScale)
    }


def _inner_first(root: Module) -> list[Module]:
    """All modules, each after those in it."""
    found = []
    stack = [root]
    while stack:
        module = stack.pop()
        found.append(module)
        stack.extend(module.modules)
    return found[::-1]


def _declaration(parameter: Parameter) -> Text:
    default = "" if parameter.default is None else f" = {literal(parameter.default)}"
    return Text(f"{parameter.name}: {parameter.annotation}{default}")


def _result_type(outputs: int, *, named: bool) -> str:
    if outputs == 0:
        return "None"
    if outputs == 1:
        return "Tensor"
    return "dict[str, Tensor]" if named else f"tuple[{', '.join(['Tensor'] * outputs)}]"


def _docstring(block: BlockClass, *, network: bool) -> str:
    name = _one_line(block.block)
    if network:
        return f"The network `{name}`."
    return f"The block `{name}`" + (f"; {block.uses} of them." if block.uses > 1 else ".")


def _one_line(text: str) -> str:
    """Text that is safe in a comment or docstring."""
    return re.sub(r'[\s\\"]+', " ", text)


def _imports(body: str) -> str:
    """The imports that a body needs."""
    found = []
    if re.search(r"\bmath\.", body):
        found += ["import math", ""]
    if re.search(r"\btorch\.", body):
        found.append("import torch")
    if re.search(r"\bF\.", body):
        found.append("import torch.nn.functional as F")
    return "\n".join([*found, "from torch import Tensor, nn"]) + "\n"


def _initialise_source(graph: Graph, init: HeNormal) -> str:
    """What `live.initialise` does, in the file's own words; norms start right by themselves."""
    ops = {type(node.op) for node in graph}
    held = ["nn.Conv2d", "nn.Linear"]
    held += ["nn.Conv1d"] if ChannelConv1d in ops else []
    held += ["nn.ConvTranspose2d"] if ConvTranspose2d in ops else []
    linear = ", of linear layers fan in" if init.fan == "out" else ""
    lines = ["            fan = module.weight[0].numel()"]
    if init.fan == "out":
        lines += [
            "            if isinstance(module, nn.Conv2d):",
            "                fan = module.weight[:, 0].numel() // module.groups",
        ]
    if init.fan == "in" and "nn.ConvTranspose2d" in held:
        lines += [
            "            if isinstance(module, nn.ConvTranspose2d):",
            "                fan = module.weight[:, 0].numel() / module.groups",
            "                fan /= module.stride[0] * module.stride[1]",
        ]
    body = "\n".join(lines)
    return f'''\
def initialise(network: nn.Module) -> None:
    """Weights from N(0, 2 / fan {init.fan}){linear}; biases 0 (He et al., arXiv 1502.01852)."""
    for module in network.modules():
        if isinstance(module, {" | ".join(held)}):
{body}
            nn.init.normal_(module.weight, std=(2 / fan) ** 0.5)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
'''
