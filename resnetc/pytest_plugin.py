"""A pytest plugin: every network of a `.rnet` file is a test.

It is off until asked for: with `--rnet`, or with the files to collect in the configuration:

    [tool.pytest.ini_options]
    rnet_files = ["specs/*.rnet"]

A test `specs/x.rnet::net` elaborates and verifies the network and proves its `expect` and
`require`; recipes, experiments and deployments are tests too, and `(file)` is what else a file
declares. A failure shows the findings as `resnetc check` does.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from resnetc.checking import FileReport
    from resnetc.diagnostics import Diagnostic
    from resnetc.lang.modules import Definition, Program

REST = "(file)"
"""The test of what a file declares beside networks and sections."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """The switches, and nothing else: without one of them the plugin does nothing."""
    group = parser.getgroup("rnet", "networks as source code")
    group.addoption("--rnet", action="store_true", help="collect .rnet files: networks are tests")
    group.addoption(
        "--rnet-strict", action="store_true", help="warnings of the compiler fail the tests"
    )
    parser.addini("rnet_files", "patterns of the .rnet files to collect", type="args", default=[])


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known that all collected tests carry."""
    config.addinivalue_line("markers", "rnet: a network or section of a .rnet file")


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """Collect a `.rnet` file where that was asked for."""
    if file_path.suffix != ".rnet" or not _wanted(file_path, parent.config):
        return None
    file: SpecFile = SpecFile.from_parent(parent, path=file_path)
    return file


def _wanted(path: Path, config: pytest.Config) -> bool:
    """Whether a file is to be collected; a pattern is of its name, or of its path from the root."""
    if config.getoption("--rnet"):
        return True
    root = config.rootpath
    inside = path.relative_to(root) if path.is_relative_to(root) else path
    patterns: list[str] = config.getini("rnet_files")
    return any(
        path.match(pattern) if "/" not in pattern else inside.match(pattern) for pattern in patterns
    )


class SpecFile(pytest.File):
    """A `.rnet` file: parsed once, for all its tests."""

    def collect(self) -> Iterator[pytest.Item]:
        """The file's networks and sections, or where it cannot be read the one test that fails."""
        from resnetc.checking import check_program
        from resnetc.definitions import whole_networks
        from resnetc.diagnostics import CompileError
        from resnetc.lang.modules import load_program, read_source
        from resnetc.lang.sections import declared

        start = self.config.invocation_params.dir
        try:
            shown = os.path.relpath(self.path, start)
            program = load_program(read_source(self.path, shown), self.path)
            networks = whole_networks(program)
        except CompileError as error:
            yield Checked.from_parent(self, name=REST, findings=error.diagnostics, line=0)
            return
        base = check_program(program, [])
        sections = declared(program.entry)
        rest = [f for f in base.findings if not any(_is_in(f, d) for d in sections)]
        yield Checked.from_parent(self, name=REST, findings=rest, warnings=base.warnings, line=0)
        for definition in sections:
            found = [f for f in base.findings if _is_in(f, definition)]
            name, line = definition.decl.name, definition.decl.name_span.line - 1
            yield Checked.from_parent(self, name=name, findings=found, line=line)
        for definition in networks:
            yield NetworkItem.from_parent(
                self, name=definition.decl.name, program=program, definition=definition, base=base
            )


def _is_in(finding: Diagnostic, definition: Definition) -> bool:
    """Whether a finding is blamed on the text of a declaration."""
    place, span = finding.primary.span, definition.decl.span
    return place.source is span.source and span.start <= place.start < span.end


class MistakesError(Exception):
    """What a spec is wrong with, on its way to the report."""

    def __init__(self, findings: Sequence[Diagnostic]) -> None:
        super().__init__(_rendered(findings))


class _SpecItem(pytest.Item):
    """A test of something that a spec declares, at its line (from 0)."""

    line: int

    def __init__(self, *, line: int, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.line = line
        self.add_marker("rnet")

    def judge(self, findings: Sequence[Diagnostic], warnings: Sequence[Diagnostic]) -> None:
        """Fail for findings, and with --rnet-strict for warnings; else only tell them."""
        if self.config.getoption("--rnet-strict"):
            findings = [*findings, *warnings]
        if findings:
            raise MistakesError(findings)
        if warnings:
            self.add_report_section("call", "rnet", _rendered(warnings))

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """The findings alone; anything else is a bug, with its traceback."""
        if isinstance(excinfo.value, MistakesError):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int, str]:
        return self.path, self.line, self.name


class Checked(_SpecItem):
    """What was checked when the file was collected."""

    def __init__(
        self,
        *,
        findings: Sequence[Diagnostic],
        warnings: Sequence[Diagnostic] = (),
        **arguments: Any,
    ) -> None:
        super().__init__(**arguments)
        self.findings, self.warnings = findings, warnings

    def runtest(self) -> None:
        self.judge(self.findings, self.warnings)


class NetworkItem(_SpecItem):
    """One network, elaborated when the test runs."""

    def __init__(
        self, *, program: Program, definition: Definition, base: FileReport, **arguments: Any
    ) -> None:
        super().__init__(line=definition.decl.name_span.line - 1, **arguments)
        self.program, self.definition, self.base = program, definition, base

    def runtest(self) -> None:
        from resnetc.checking import check_program

        report = check_program(self.program, [self.definition])
        known = {(f.code, f.primary.span) for f in (*self.base.findings, *self.base.warnings)}
        own = (
            [f for f in found if (f.code, f.primary.span) not in known]
            for found in (report.findings, report.warnings)
        )
        self.judge(*own)


def _rendered(findings: Sequence[Diagnostic]) -> str:
    from resnetc.diagnostics import MAX_REPORTED, render

    shown = [render(finding) for finding in findings[:MAX_REPORTED]]
    hidden = len(findings) - MAX_REPORTED
    return "\n\n".join([*shown, f"and {hidden} more"] if hidden > 0 else shown)
