"""Random networks mean what the reference says: shapes, names, hashes, graphs."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from messy import messy
from programs import Program, programs

from resnetc.diagnostics import Source
from resnetc.driver import Network, load
from resnetc.ir.verify import Stage, verify
from resnetc.lang.format import format_source


def compiled(text: str, folder: Path) -> Network:
    file = folder / "program.rnet"
    file.write_text(text)
    return load(f"{file}:n")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("programs")


@given(programs())
@settings(max_examples=100, deadline=None)
def test_shapes_and_names_are_the_oracles(folder: Path, program: Program) -> None:
    graph = compiled(program.text, folder).graph
    found = {path: p.type.shape for path, p in graph.parameters.items()}
    assert found == program.parameters
    assert list(found) == list(program.parameters) or "downsample" in program.text
    (output,) = graph.outputs.values()
    assert graph[output].type.shape == program.output


@given(programs())
@settings(max_examples=40, deadline=None)
def test_graphs_are_sound(folder: Path, program: Program) -> None:
    graph = compiled(program.text, folder).graph
    verify(graph, Stage.SOURCE)
    names = [node.name for node in graph]
    assert len(set(names)) == len(names)
    for node in graph:
        assert node.type == node.op.result(*graph.operands(node))
        assert all(operand < node.id for operand in node.inputs)
        assert node.span is not None
    scopes = {scope.id: scope for scope in graph.scopes}
    assert all(node.scope in scopes for node in graph)
    for scope in graph.scopes[1:]:
        assert scope.parent is not None
        assert scope.path.startswith(scopes[scope.parent].path)


@given(programs(), st.data())
@settings(max_examples=15, deadline=None)
def test_layout_does_not_matter(folder: Path, program: Program, data: st.DataObject) -> None:
    text = data.draw(messy(st.just(program.text)))
    graph = compiled(program.text, folder).graph
    assert compiled(text, folder).graph.hash == graph.hash
    formatted = format_source(Source("x", text))
    assert compiled(formatted, folder).graph.hash == graph.hash
    assert compiled(format_source(Source("x", program.text)), folder).graph.hash == graph.hash


@given(programs())
@settings(max_examples=15, deadline=None)
def test_what_differs_has_another_hash(folder: Path, program: Program) -> None:
    graph = compiled(program.text, folder).graph
    assert compiled(program.text, folder).graph.hash == graph.hash
    wider = program.text.replace("classes: int = 5", "classes: int = 6")
    assert compiled(wider, folder).graph.hash != graph.hash
    renamed = program.text.replace("fc: linear", "head: linear")
    assert compiled(renamed, folder).graph.hash != graph.hash
