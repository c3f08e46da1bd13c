"""A whole file checked: everything that is wrong with it at once, and what looks like a mistake."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from resnetc.analysis.expected import unmet
from resnetc.definitions import (
    choose,
    collector_paused,
    derived_network,
    distinct,
    own_networks,
    wrong_labels,
)
from resnetc.diagnostics import CompileError, Diagnostic, Help, Label, Source
from resnetc.ir import Graph
from resnetc.lang import syntax as s
from resnetc.lang.blame import at_home, elaborate
from resnetc.lang.budget import MORE, SPENT, file_steps
from resnetc.lang.check import check_module
from resnetc.lang.doubts import doubts
from resnetc.lang.evaluate import Evaluator
from resnetc.lang.modules import Definition, Program, load_program, read_source
from resnetc.lang.observe import Observer
from resnetc.lang.sections import Sections, names_of, read_sections
from resnetc.lang.unused import allowed, names_read, unused
from resnetc.lang.variants import needs, unfinished
from resnetc.lower import lower
from resnetc.zoo import find


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


@collector_paused()
def check_file(reference: str | Path) -> FileReport:
    """Check everything in a file, or one network of it; all mistakes come at once.

    Raises UsageError where there is no such file or network, CompileError for a mistake of syntax.
    """
    found = find(str(reference))
    program = load_program(read_source(found.path, found.shown), found.path)
    return check_program(program, [choose(program, found)] if found.network else None)


@collector_paused()
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
    for definition in own_networks(program) if chosen is None else chosen:
        if steps > file_steps():
            findings.append(_too_much(definition))
            others_too = False
            break
        name, evaluate = definition.decl.name, Evaluator()
        try:
            derived = derived_network(evaluate, definition, template_fits=True)
            if missing := needs(derived):
                if isinstance(definition.decl, s.Variant) and name not in names_read(program.entry):
                    findings.append(unfinished(derived, missing).diagnostic)
                else:
                    templates.append(name)
                continue
            observer = watch(name) if watch else None
            checked = elaborate(derived, evaluate, findings, observer)
            networks[name], meta[name] = lower(checked), checked.meta
            claims = unmet(networks[name], checked.expectations)
            findings += [at_home(claim, derived) for claim in claims]
            suspects += doubts(checked, program.entry.file.source)
        except CompileError as error:
            findings += error.diagnostics
            if any(found.code in SPENT for found in error.diagnostics):
                others_too = False
                break  # what is hopeless is hopeless once; the next may be as large
        finally:
            steps += evaluate.budget.steps
    sections = read_sections(program.entry)
    findings += sections.findings
    findings += _wrong_labels_of_all(program, sections, networks, steps if others_too else None)
    return FileReport(
        networks,
        meta,
        tuple(templates),
        recipes=names_of(program.entry, "recipe"),
        experiments=names_of(program.entry, "experiment"),
        deploys=names_of(program.entry, "deploy"),
        findings=tuple(distinct(findings, program.entry.file.source)),
        warnings=() if findings else tuple(d for d in distinct(suspects) if not allowed(d)),
    )


def _too_much(definition: Definition) -> Diagnostic:
    message = f"stopped after {file_steps():,} steps for the networks before this one"
    note = f"`resnetc check FILE:{definition.decl.name}` checks it alone"
    label = Label(definition.decl.name_span)
    return Diagnostic("E0606", message, label, notes=(note,), help=Help(MORE))


def _wrong_labels_of_all(
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
        findings += wrong_labels(graphs.get(deploy.network), sections, name)
    return findings


def _imported(program: Program, name: str) -> tuple[Graph | None, int]:
    """A network of another file, None where it is broken: that is the other file's to say; and
    the steps that it took."""
    evaluate = Evaluator()
    try:
        derived = derived_network(evaluate, program.entry.names[name])
        return lower(elaborate(derived, evaluate, [])), evaluate.budget.steps
    except CompileError:
        return None, evaluate.budget.steps
