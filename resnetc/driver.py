"""The whole pipeline on one screen: text to graph, graph to artefacts.

load      reference -> Network      parse, check, elaborate, lower
Network   .graph .cost .recipe      what the compiler knows
          .to_torch .to_torch_source .to_onnx .to_tensorrt
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resnetc.analysis import Cost, cost
from resnetc.analysis.expected import unmet
from resnetc.definitions import (
    choose,
    collecting,
    collector_paused,
    derived_network,
    raise_findings,
    wrong_labels,
)
from resnetc.diagnostics import CompileError, Diagnostic, UsageError
from resnetc.ir import Graph
from resnetc.ir.outputs import NoSuchOutputError, with_outputs
from resnetc.lang.blame import at_home, elaborate
from resnetc.lang.check import check_module
from resnetc.lang.evaluate import Evaluator
from resnetc.lang.modules import load_program, read_source
from resnetc.lang.origins import TracedElaborator, Tracer
from resnetc.lang.record import CheckedNetwork
from resnetc.lang.sections import read_sections
from resnetc.lang.values import show
from resnetc.lower import lower
from resnetc.recipes import Recipe
from resnetc.sections import Deploy, Experiment
from resnetc.zoo import find

if TYPE_CHECKING:
    import torch

    from resnetc.backends.onnx import OnnxOptions
    from resnetc.backends.tensorrt import EngineReport, TensorRtOptions


@dataclass(frozen=True)
class Network:
    """A compiled network.

    `parameters` are the names that can be bound, `settings` what was bound from outside the
    file, as the language writes it, `meta` what the spec says of the network, `recipes`,
    `experiments` and `deploys` the file's sections by name; `experiment` or `deploy` is the one
    by which the network was asked for. `outputs` are the labels that were asked for in the place of
    the outputs the spec gives it.
    """

    name: str
    reference: str
    path: Path
    source_text: str
    graph: Graph
    parameters: tuple[str, ...]
    settings: dict[str, str]
    meta: dict[str, object]
    recipes: dict[str, Recipe] = field(default_factory=dict)
    experiments: dict[str, Experiment] = field(default_factory=dict)
    deploys: dict[str, Deploy] = field(default_factory=dict)
    experiment: Experiment | None = None
    deploy: Deploy | None = None
    outputs: tuple[str, ...] | None = None

    @property
    def recipe(self) -> Recipe | None:
        """The experiment's recipe, else the one that `meta { recipe = ... }` names, else the first
        in the file, else None."""
        if self.experiment is not None and self.experiment.recipe is not None:
            return self.recipes[self.experiment.recipe]
        named = self.meta.get("recipe")
        if isinstance(named, str):
            return self.recipes[named]
        return next(iter(self.recipes.values()), None)

    @cached_property
    def cost(self) -> Cost:
        """Parameters, multiply-accumulates, activations; per sample."""
        return cost(self.graph)

    def bind(self, **parameters: object) -> Network:
        """The same network with parameters bound, as `load` takes them."""
        return _load(self.reference, self.settings, self.outputs, parameters)

    def with_outputs(self, labels: Sequence[str]) -> Network:
        """The network that gives exactly these: labels of blocks or layers, for the values behind
        them, and names of outputs it has. What none of them needs is left out, and weights for
        that are passed over. Raises UsageError for a label that nothing bears.
        """
        return replace(self, graph=_cut(self.graph, labels), outputs=tuple(labels))

    @cached_property
    def whole(self) -> Network:
        """The network with the outputs that the spec gives it."""
        return self if self.outputs is None else load(self.reference, self.settings)

    def to_torch(self) -> torch.nn.Module:
        """A live module; its state_dict's keys are the graph's parameter paths."""
        from resnetc.backends.torch import build_module

        return build_module(self.graph)

    def to_torch_source(self, path: str | Path) -> Path:
        """Write a stand-alone Python file that needs torch alone."""
        from resnetc.atomic import write_text
        from resnetc.backends.torch import emit_source

        write_text(Path(path), emit_source(self.graph))
        return Path(path)

    def to_onnx(
        self, path: str | Path, weights: Mapping[str, Any], options: OnnxOptions | None = None
    ) -> Path:
        """Write an ONNX model; `weights` is a state_dict or a mapping of arrays by path."""
        from resnetc.backends.onnx import OnnxOptions, write_onnx
        from resnetc.backends.weights import as_arrays

        write_onnx(self.graph, Path(path), as_arrays(weights), options=options or OnnxOptions())
        return Path(path)

    def to_tensorrt(
        self,
        path: str | Path,
        weights: Mapping[str, Any],
        precision: str = "fp32",
        options: TensorRtOptions | None = None,
    ) -> EngineReport:
        """Write a TensorRT engine and its sidecar; says which precision the layers have."""
        from resnetc.backends.tensorrt import TensorRtOptions, build_engine
        from resnetc.backends.weights import as_arrays

        chosen = options or TensorRtOptions(precision=precision)
        return build_engine(self.graph, Path(path), as_arrays(weights), options=chosen)


# --------------------------------------------------------------------------------- text to graph


def load(
    reference: str | Path,
    settings: Mapping[str, str] | None = None,
    /,
    *,
    outputs: Sequence[str] | None = None,
    **parameters: object,
) -> Network:
    """Compile one network.

    `reference` is `file.rnet:network`, `file.rnet` where the file has one network, or the bare
    name of a shipped one; in the place of a network may stand an experiment or deployment of the
    file, which means its network. `settings` binds parameters or ambients to values written in the
    language (`{"depths": "[3, 4, 6, 3]"}`), keyword arguments to Python values. `outputs` are
    labels, as :meth:`Network.with_outputs` takes them. Raises UsageError when there is no such
    file, network or label, CompileError when the spec is wrong.
    """
    return _load(str(reference), settings or {}, outputs, parameters)


@collector_paused()
def _load(
    reference: str,
    settings: Mapping[str, str],
    outputs: Sequence[str] | None,
    parameters: Mapping[str, object],
) -> Network:
    settings = {**settings, **_written(parameters)}
    found = find(reference)
    program = load_program(read_source(found.path, found.shown), found.path)
    findings = [*program.findings, *check_module(program.entry)]
    definition = choose(program, found)
    sections = read_sections(program.entry)
    findings += sections.findings
    with collecting(findings):
        evaluate = Evaluator()
        derived = derived_network(evaluate, definition, settings, keywords=parameters)
        checked = elaborate(derived, evaluate, findings)
        graph = lower(checked)
        findings += [at_home(claim, derived) for claim in unmet(graph, checked.expectations)]
        findings += wrong_labels(graph, sections, found.network)
    raise_findings(findings, program.entry.file.source)
    net = Network(
        name=checked.name,
        reference=f"{found.shown}:{found.network or definition.decl.name}",
        path=found.path,
        source_text=program.entry.file.source.text,
        graph=graph,
        parameters=tuple(param.name for param in derived.params),
        settings=dict(settings),
        meta=checked.meta,
        recipes=sections.recipes,
        experiments=sections.experiments,
        deploys=sections.deploys,
        experiment=sections.experiments.get(found.network or ""),
        deploy=sections.deploys.get(found.network or ""),
    )
    return net if outputs is None else net.with_outputs(outputs)


def _cut(graph: Graph, labels: Sequence[str]) -> Graph:
    """The part of a network that leads to some labels."""
    if isinstance(labels, str) or not labels:
        raise UsageError(f"outputs are a list of labels, not {labels!r}")
    try:
        return with_outputs(graph, labels)
    except NoSuchOutputError as error:
        meant = ""
        if error.close is not None:
            at = error.placed
            where = f" ({at.source.name}:{at.line})" if at is not None else ""
            meant = f"; did you mean `{error.close}`?{where}"
        raise UsageError(f"{error}{meant}") from None


def trace(reference: str, settings: Mapping[str, str]) -> tuple[CheckedNetwork, Tracer]:
    """Elaborate one network as :func:`load` does, and remember who set what."""
    found = find(reference)
    program = load_program(read_source(found.path, found.shown), found.path)
    raise_findings([*program.findings, *check_module(program.entry)])
    tracer = Tracer()
    derived = derived_network(tracer, choose(program, found), settings)
    try:
        return TracedElaborator(derived, tracer).run(), tracer
    except CompileError:
        findings: list[Diagnostic] = []
        elaborate(derived, Evaluator(), findings)  # the same mistakes, told of the reference's file
        raise CompileError(findings) from None


def _written(parameters: Mapping[str, object]) -> dict[str, str]:
    """Python values as the language writes them."""
    return {name: show(list(v) if isinstance(v, tuple) else v) for name, v in parameters.items()}
