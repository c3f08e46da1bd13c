"""What changed between two networks: exactly that, where it is, and what it costs."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import programs
import pytest
import small_graphs
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

import resnetc
from resnetc.analysis.cost import cost
from resnetc.analysis.difference import Change, Difference, difference, paths_text
from resnetc.checking import check_file
from resnetc.cli.diff import diff
from resnetc.ir import Graph

SPECS = """rnet 1

use resnet { resnet, resnet50 }

block se_bottleneck(width: int, stride: int = 1) {
  residual {
    conv1: conv(1x1, width) -> bn1: norm -> act
    conv2: conv(3x3, width, stride=stride) -> bn2: norm -> act
    conv3: conv(1x1, 4 * width) -> bn3: norm
    se: squeeze_excite(width // 4)
  }
}
network seresnet50 = resnet(se_bottleneck, [3, 4, 6, 3])
"""


@pytest.fixture
def se(tmp_path: Path) -> str:
    (tmp_path / "se.rnet").write_text(SPECS)
    return f"{tmp_path / 'se.rnet'}:seresnet50"


def compared(before: str, after: str) -> Difference:
    return difference(resnetc.load(before).graph, resnetc.load(after).graph)


def networks(folder: Path, *bodies: str) -> list[Graph]:
    texts = (f"network n{i} {{\n  input 3x8x8\n{body}\n}}\n" for i, body in enumerate(bodies))
    (folder / "n.rnet").write_text("".join(texts))
    report = check_file(folder / "n.rnet")
    assert report.findings == ()
    return list(report.networks.values())


def causes(difference: Difference) -> list[tuple[str, str, tuple[str, ...]]]:
    return [
        (f"{site.path}.{change.label}".strip("."), change.kind, change.what)
        for group in difference.groups
        for site in group.sites
        for change in site.causes
    ]


def test_the_two_resnet50_differ_in_where_the_stride_is() -> None:
    found = compared("resnet50", "resnet50_v1")
    (group,) = found.groups
    assert [site.path for site in group.sites] == ["layer2.0", "layer3.0", "layer4.0"]
    moved = (
        Change("changed", "conv1", ("stride 1 -> 2",), 0, -77_070_336),
        Change("changed", "conv2", ("stride 2 -> 1",)),
    )
    assert group.like.causes == moved
    assert group.like.followers == ("bn1", "relu")


def test_the_shortcut_options_differ_in_the_shortcuts() -> None:
    found = compared("resnet34", "resnet34_a")
    assert [group.like.path for group in found.groups] == ["layer2.0", "layer3.0", "layer4.0"]
    for group, channels in zip(found.groups, (128, 256, 512), strict=True):
        kinds = [(change.kind, change.label) for change in group.like.causes]
        assert kinds == [
            ("removed", "downsample"),
            ("added", "subsample"),
            ("added", "pad_channels"),
        ]
        assert group.like.followers == ()
        assert group.like.params == -(channels // 2 * channels + 2 * channels)


def test_squeeze_and_excitation_is_added_to_every_block(se: str) -> None:
    found = compared("resnet50", se)
    assert [len(group.sites) for group in found.groups] == [3, 4, 6, 3]
    assert all(
        [(change.kind, change.label) for change in group.like.changes] == [("added", "se")]
        for group in found.groups
    )
    sites = sum(group.like.params * len(group.sites) for group in found.groups)
    assert sites == found.costs[1].params - found.costs[0].params == 2_530_992


def test_what_is_added_again_and_again_is_said_once() -> None:
    (group,) = compared("resnet50", "resnet101").groups
    (change,) = group.like.changes
    assert (group.like.path, change.label, change.count) == ("layer3", "6 … 22", 17)
    assert change.params == 44_549_160 - 25_557_032


def test_a_row_inserted_among_numbered_ones_is_the_only_change(tmp_path: Path) -> None:
    rows = "conv(3x3, 4) -> norm -> act -> conv(3x3, 4) -> norm"
    more = rows.replace("act -> conv", "act -> dropout -> conv")
    found = difference(*networks(tmp_path, f"x: seq {{ {rows} }}", f"x: seq {{ {more} }}"))
    assert causes(found) == [("x.3", "added", ("dropout",))]


def test_only_neighbours_are_told_as_one(tmp_path: Path) -> None:
    rows = "conv(3x3, 4) -> act -> conv(3x3, 4) -> act -> act -> conv(3x3, 4)"
    found = difference(*networks(tmp_path, f"x: seq {{ {rows} }}", "x: seq { conv(3x3, 4) * 3 }"))
    (group,) = found.groups
    assert [(change.label, change.count) for change in group.like.changes] == [
        ("1", 1),
        ("3 … 4", 2),
    ]


def test_blocks_are_told_together_when_the_same_layers_follow(tmp_path: Path) -> None:
    conv = "seq { conv(3x3, 4, stride=1)"
    body = f"add {{ | x: {conv} -> act }} | y: {conv} }} | z: {conv} }} }}"
    found = difference(*networks(tmp_path, body, body.replace("stride=1", "stride=2")))
    told = [[site.path for site in group.sites] for group in found.groups]
    assert told == [["x"], ["y", "z"]]


def test_a_renamed_block_is_found_by_its_likeness(tmp_path: Path) -> None:
    body = "{0}: seq {{ conv(3x3, 4) -> norm -> act }} -> fc: conv(1x1, {1})"
    found = difference(*networks(tmp_path, body.format("stem", 8), body.format("root", 9)))
    assert causes(found) == [
        ("root", "changed", ("was called stem",)),
        ("fc", "changed", ("out channels 8 -> 9",)),
    ]


def test_the_same_layers_in_another_order_are_not_the_same(tmp_path: Path) -> None:
    one = "a: conv(3x3, 3) -> b: conv(3x3, 3)"
    other = "b: conv(3x3, 3) -> a: conv(3x3, 3)"
    kinds = {kind for _, kind, _ in causes(difference(*networks(tmp_path, one, other)))}
    assert kinds == {"rewired", "changed"}


def test_outputs_are_compared(tmp_path: Path) -> None:
    rows = "a: conv(3x3, 3) as x  b: conv(3x3, 3) as y  output "
    one, two, other = networks(tmp_path, f"{rows} x, y", f"{rows} y", f"{rows} y, x")
    assert ("outputs.x", "removed", ("an output: a",)) in causes(difference(one, two))
    assert difference(one, other).same


def test_a_shared_parameter_is_no_parameter_of_ones_own(tmp_path: Path) -> None:
    own, shared = networks(
        tmp_path, "a: conv(3x3, 3) -> b: conv(3x3, 3)", "a: conv(3x3, 3) -> b: conv(3x3, 3)"
    )
    first, last = list(shared)[-2:]
    nodes = [*list(shared)[:-1], replace(last, parameters=first.parameters)]
    tied = Graph(shared.name, nodes, shared.outputs, shared.scopes)
    assert causes(difference(own, tied)) == [("b", "changed", ("takes the parameters of a",))]


# --------------------------------------------------------------------------------- properties


@settings(max_examples=40, deadline=None)
@given(before=small_graphs.random_graphs(), after=small_graphs.random_graphs())
def test_random_graphs_are_the_same_exactly_when_their_hashes_are(
    before: Graph, after: Graph
) -> None:
    assert difference(before, before).same
    found = difference(before, after)
    assert found.same == (before.hash == after.hash)
    added = sum(group.like.params * len(group.sites) for group in found.groups)
    assert added <= cost(after).params


@settings(max_examples=25, deadline=None)
@given(program=programs.programs(), data=st.data())
def test_a_row_taken_out_of_a_program_shows(
    tmp_path_factory: pytest.TempPathFactory, program: programs.Program, data: st.DataObject
) -> None:
    lines = program.text.splitlines()
    gone = data.draw(st.integers(0, len(lines) - 1))
    folder = tmp_path_factory.mktemp("rows")
    (folder / "a.rnet").write_text(program.text)
    (folder / "b.rnet").write_text("\n".join(lines[:gone] + lines[gone + 1 :]))
    try:
        after = check_file(folder / "b.rnet").networks.get("n")
    except resnetc.diagnostics.CompileError:
        return
    before = check_file(folder / "a.rnet").networks["n"]
    if after is not None:
        assert difference(before, after).same == (before.hash == after.hash)


@pytest.mark.parametrize(
    ("paths", "text"),
    [
        (["a"], "a"),
        (["l.0", "l.1"], "l.0, l.1"),
        (["l.0", "l.1", "l.2", "m.0"], "l.0 … l.2, m.0"),
        (["l.1", "l.2", "l.4", "x.5"], "l.1, l.2, l.4, x.5"),
    ],
)
def test_neighbours_are_a_range(paths: list[str], text: str) -> None:
    assert paths_text(paths) == text


# --------------------------------------------------------------------------------- command


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(diff, list(arguments))
    return result.exit_code, result.output


def test_the_report(golden: Callable[[str, str], None], se: str) -> None:
    pairs = [
        ("resnet50", "resnet50_v1"),
        ("resnet34", "resnet34_a"),
        ("resnet50", se),
        ("resnet34", "plain34"),
        ("resnet18", "resnet20"),
    ]
    reports = [run(*pair) for pair in pairs]
    assert {code for code, _ in reports} == {1}
    golden("diff.txt", "\n".join(text for _, text in reports))


def test_the_same_network_ends_with_0() -> None:
    assert run("resnet18", "resnet18") == (0, "resnet18 and resnet18 are the same\n")
    code, text = run("resnet34", "resnet34_b", "--json")
    assert code == 0
    assert json.loads(text)["compared"][0]["same"] is True


def test_settings_bind_the_second() -> None:
    assert run("resnet18", "resnet18", "--set", "classes=1000")[0] == 0
    code, text = run("resnet18", "resnet18", "--set", "classes=10")
    assert code == 1
    assert "out features 1000 -> 10  -507,870 parameters" in text


def test_files_are_compared_by_the_names_of_their_networks(tmp_path: Path) -> None:
    body = "network {} {{ input 3x8x8  conv1: conv(3x3, {}) }}\n"
    (tmp_path / "a.rnet").write_text(body.format("x", 4) + body.format("y", 4))
    (tmp_path / "b.rnet").write_text(body.format("x", 4) + body.format("z", 5))
    code, text = run(str(tmp_path / "a.rnet"), str(tmp_path / "b.rnet"))
    assert code == 1
    assert text == "- network y\n+ network z\nthe same: x\n"
    code, text = run(str(tmp_path / "a.rnet"), str(tmp_path / "b.rnet"), "--json")
    assert {key: json.loads(text)[key] for key in ("added", "removed")} == {
        "added": ["z"],
        "removed": ["y"],
    }


def test_the_json_holds_every_change() -> None:
    code, text = run("resnet50", "resnet50_v1", "--json")
    assert code == 1
    document: dict[str, Any] = json.loads(text)["compared"][0]
    (group,) = document["groups"]
    assert [site["path"] for site in group["sites"]] == ["layer2.0", "layer3.0", "layer4.0"]
    first = group["sites"][0]["changes"]
    assert [change["kind"] for change in first] == ["changed", "reshaped", "reshaped", "changed"]
    assert first[1]["what"] == ["128x56x56 -> 128x28x28"]
    assert document["costs"][1]["macs"] == 3_857_973_248
