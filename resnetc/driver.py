"""The whole pipeline on one screen: text to graph, graph to artefacts.

load      reference -> Network      parse, check, elaborate, lower
Network   .graph .cost .recipe      what the compiler knows
          .to_torch .to_torch_source .to_onnx .to_tensorrt
"""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resnetc.analysis import Cost, cost
from resnetc.analysis.expected import unmet
from resnetc.diagnostics import CompileError, Diagnostic, Help, Label, Source, UsageError
from resnetc.ir import Graph
from resnetc.ir.outputs import NoSuchOutputError, with_outputs
from resnetc.lang import syntax as s
from resnetc.lang.budget import MORE, SPENT, file_steps
from resnetc.lang.check import check_module
from resnetc.lang.doubts import doubts
from resnetc.lang.elaborate import Elaborator
from resnetc.lang.evaluate import Env, Evaluator
from resnetc.lang.mistake import Mistake, Poisoned
from resnetc.lang.modules import Definition, Program, load_program, read_source
from resnetc.lang.observe import Observer
from resnetc.lang.origins import TracedElaborator, Tracer
from resnetc.lang.parser import parse_expression
from resnetc.lang.record import CheckedNetwork
from resnetc.lang.sections import Sections, names_of, network_of, read_sections
from resnetc.lang.unused import allowed, unused
from resnetc.lang.values import show
from resnetc.lang.variants import Derived, derive, needs, require_bound
from resnetc.lower import lower
from resnetc.recipes import Recipe
from resnetc.sections import Deploy, Experiment
from resnetc.zoo import Reference, find

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
        settings = {**self.settings, **_written(parameters)}
        return load(self.reference, settings, outputs=self.outputs)

    def with_outputs(self, labels: Sequence[str]) -> Network:
        """The network that gives exactly these: labels of blocks or layers, for the values behind
        them, and names of outputs it has. What none of them needs is left out, and weights for
        that are passed over. Raises UsageError for a label that nothing bears.
        """
        return replace(self, graph=_cut(self.graph, labels), outputs=tuple(labels))

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


@contextlib.contextmanager
def _collector_paused() -> Iterator[None]:
    """No garbage collection meanwhile: a compilation makes many objects, and nearly all stay, so
    that looking for others among them takes a third of its time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


@_collector_paused()
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
    settings = {**(settings or {}), **_written(parameters)}
    found = find(str(reference))
    program = load_program(read_source(found.path, found.shown), found.path)
    findings = [*program.findings, *check_module(program.entry)]
    definition = choose(program, found)
    sections = Sections()
    with _collecting(findings):
        sections = read_sections(program.entry)
    with _collecting(findings):
        derived, evaluate = _derive(definition, settings)
        checked = Elaborator(derived, evaluate).run()
        graph = lower(checked)
        findings += unmet(graph, checked.expectations)
        findings += _mislabelled(graph, sections, found.network)
    raise_findings(findings)
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


@dataclass(frozen=True)
class FileReport:
    """What `check_file` found: the networks that compile, templates, sections, mistakes, and of a
    file without mistakes what looks like one."""

    networks: dict[str, Graph]
    meta: dict[str, dict[str, object]]
    templates: tuple[str, ...]
    recipes: tuple[str, ...]
    experiments: tuple[str, ...]
    deploys: tuple[str, ...]
    findings: tuple[Diagnostic, ...]
    warnings: tuple[Diagnostic, ...] = ()


@_collector_paused()
def check_file(reference: str | Path) -> FileReport:
    """Check everything in a file, or one network of it; all mistakes come at once.

    Raises UsageError where there is no such file or network, CompileError for a mistake of syntax.
    """
    found = find(str(reference))
    program = load_program(read_source(found.path, found.shown), found.path)
    return check_program(program, [choose(program, found)] if found.network else None)


@_collector_paused()
def check_source(source: Source, path: Path) -> FileReport:
    """Check a text as if it stood in the file at a path; mistakes of syntax are findings too."""
    try:
        program = load_program(source, path)
    except CompileError as error:
        return FileReport({}, {}, (), (), (), (), tuple(error.diagnostics))
    return check_program(program)


def check_program(
    program: Program,
    chosen: list[Definition] | None = None,
    watch: Callable[[str], Observer] | None = None,
) -> FileReport:
    """Check everything in a program's file, or the chosen networks of it.

    `watch` makes the onlooker of a network's elaboration, by the network's name.
    """
    findings = [*program.findings, *check_module(program.entry)]
    networks: dict[str, Graph] = {}
    meta: dict[str, dict[str, object]] = {}
    templates = []
    suspects = unused(program.entry)
    steps, others_too = 0, chosen is None
    for definition in _networks(program) if chosen is None else chosen:
        if steps > file_steps():
            findings.append(_too_much(definition))
            others_too = False
            break
        name, evaluate = definition.decl.name, Evaluator()
        try:
            derived = _derive_by(evaluate, definition, {}, template_fits=True)
            if needs(derived):
                templates.append(name)
                continue
            checked = Elaborator(derived, evaluate, watch(name) if watch else None).run()
            networks[name], meta[name] = lower(checked), checked.meta
            findings += unmet(networks[name], checked.expectations)
            suspects += doubts(checked, program.entry.file.source)
        except CompileError as error:
            findings += error.diagnostics
            if any(found.code in SPENT for found in error.diagnostics):
                others_too = False
                break  # what is hopeless is hopeless once; the next may be as large
        finally:
            steps += evaluate.budget.steps
    with _collecting(findings):
        sections = read_sections(program.entry)
        findings += _mislabelled_of_all(program, sections, networks, steps if others_too else None)
    return FileReport(
        networks,
        meta,
        tuple(templates),
        recipes=names_of(program.entry, "recipe"),
        experiments=names_of(program.entry, "experiment"),
        deploys=names_of(program.entry, "deploy"),
        findings=tuple(_distinct(findings)),
        warnings=() if findings else tuple(d for d in _distinct(suspects) if not allowed(d)),
    )


def _too_much(definition: Definition) -> Diagnostic:
    message = f"stopped after {file_steps():,} steps for the networks before this one"
    note = f"`resnetc check FILE:{definition.decl.name}` checks it alone"
    label = Label(definition.decl.name_span)
    return Diagnostic("E0606", message, label, notes=(note,), help=Help(MORE))


def _mislabelled_of_all(
    program: Program, sections: Sections, networks: Mapping[str, Graph], steps: int | None
) -> list[Diagnostic]:
    """What is wrong with the labels of a file's deployments. Networks of other files are compiled
    for that, each once, while the file's steps last; `steps` were taken, None is for no more."""
    graphs: dict[str, Graph | None] = dict(networks)
    findings: list[Diagnostic] = []
    for name, deploy in sections.deploys.items():
        wanted = sections.labels[name] and deploy.network not in graphs
        if wanted and steps is not None and steps <= file_steps():
            graphs[deploy.network], taken = _imported(program, deploy.network)
            steps += taken
        findings += _mislabelled(graphs.get(deploy.network), sections, name)
    return findings


def _imported(program: Program, name: str) -> tuple[Graph | None, int]:
    """A network of another file, None where it is broken: that is the other file's to say; and
    the steps that it took."""
    evaluate = Evaluator()
    try:
        derived = _derive_by(evaluate, program.entry.names[name], {}, template_fits=False)
        return lower(Elaborator(derived, evaluate).run()), evaluate.budget.steps
    except CompileError:
        return None, evaluate.budget.steps


def _mislabelled(graph: Graph | None, sections: Sections, name: str | None) -> list[Diagnostic]:
    """What is wrong with the labels that a deployment of this name holds."""
    labels = sections.labels.get(name or "", ())
    if graph is None or not labels:
        return []
    from resnetc.passes.deployed import mislabelled

    return mislabelled(graph, labels)


def trace(reference: str, settings: Mapping[str, str]) -> tuple[CheckedNetwork, Tracer]:
    """Elaborate one network as :func:`load` does, and remember who set what."""
    found = find(reference)
    program = load_program(read_source(found.path, found.shown), found.path)
    raise_findings([*program.findings, *check_module(program.entry)])
    tracer = Tracer()
    derived = _derive_by(tracer, choose(program, found), settings, template_fits=False)
    return TracedElaborator(derived, tracer).run(), tracer


def _derive(definition: Definition, settings: Mapping[str, str]) -> tuple[Derived, Evaluator]:
    evaluate = Evaluator()
    return _derive_by(evaluate, definition, settings, template_fits=False), evaluate


def _derive_by(
    evaluate: Evaluator,
    definition: Definition,
    settings: Mapping[str, str],
    *,
    template_fits: bool,
) -> Derived:
    """The network a definition stands for, with settings from outside."""
    try:
        derived = derive(definition, evaluate)
        for name, text in settings.items():
            source = Source(f"--set {name}", text)
            expr = parse_expression(source)
            value = evaluate(expr, Env(definition.home))
            derived.override(name, value, expr.span, expr.span)
            derived.rebound = True
        if not template_fits:
            require_bound(derived)
    except Mistake as mistake:
        raise CompileError(mistake.diagnostic) from None
    except Poisoned:
        raise CompileError(()) from None  # it reads what has been reported as broken
    return derived


def choose(program: Program, found: Reference) -> Definition:
    """The network a reference means in its file: named, or that of an experiment or deployment."""
    meant = network_of(program.entry, found.network)
    if meant is not None:
        return meant
    networks = {d.decl.name: d for d in _networks(program)}
    return networks[found.choose(list(networks), [n for n, d in networks.items() if _whole(d)])]


def _whole(definition: Definition) -> bool:
    """Whether a network is complete: a template with open parameters is not."""
    try:
        return not needs(derive(definition, Evaluator()))
    except (Mistake, Poisoned):
        return True


def whole_networks(program: Program) -> list[Definition]:
    """The networks of a program's file that are complete: no templates."""
    return [definition for definition in _networks(program) if _whole(definition)]


def _networks(program: Program) -> list[Definition]:
    return list(program.entry.own((s.Network, s.Variant)))


@contextlib.contextmanager
def _collecting(findings: list[Diagnostic]) -> Iterator[None]:
    """Add the mistakes that come up to the findings, and go on."""
    try:
        yield
    except CompileError as error:
        findings += error.diagnostics


def raise_findings(findings: Iterable[Diagnostic]) -> None:
    """Raise CompileError when there are any."""
    distinct = _distinct(findings)
    if distinct:
        raise CompileError(distinct)


def _distinct(findings: Iterable[Diagnostic]) -> list[Diagnostic]:
    """Each finding once, though a template may be elaborated many times; in source order."""
    by_place = {(d.code, d.primary.span): d for d in reversed(list(findings))}
    return sorted(
        by_place.values(), key=lambda d: (d.primary.span.source.name, d.primary.span.start)
    )


def _written(parameters: Mapping[str, object]) -> dict[str, str]:
    """Python values as the language writes them."""
    return {name: show(list(v) if isinstance(v, tuple) else v) for name, v in parameters.items()}
