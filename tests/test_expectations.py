"""What `expect` knows is what the network is: figures, bounds, weights, the paper."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import published_weights as tool
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import resnetc
from resnetc import resources
from resnetc.analysis import cost, depth
from resnetc.analysis.field import fields, last_map_field
from resnetc.analysis.matching import compare
from resnetc.analysis.published import published_names, published_shapes
from resnetc.checking import check_file
from resnetc.diagnostics import CompileError, Diagnostic, UsageError, render

TINY = """rnet 1

network n {
  input 3x8x8
  conv1: conv(3x3, 4, stride=2) -> bn1: norm -> act
  residual { conv2: conv(3x3, 4) -> bn2: norm }
  residual(shortcut=C) { conv3: conv(3x3, 4) -> bn3: norm -> act  conv4: conv(3x3, 4) }
  gap -> flatten -> fc: linear(5)
  expect EXPECTED
}
"""
# By hand: 3x3 convolutions 108, 144, 144, 144 and a projection 16; the classifier 25; batch norms
# 4 x 8. Maps are 4x4.
COUNTS = {
    "params": 108 + 3 * 144 + 16 + 25 + 4 * 8,
    "buffers": 4 * 9,
    "macs": (108 + 3 * 144 + 16) * 16 + 20,
    "depth": 5,
}


def found(folder: Path, expected: str) -> list[Diagnostic]:
    (folder / "n.rnet").write_text(TINY.replace("EXPECTED", expected))
    return list(check_file(folder / "n.rnet").findings)


@pytest.mark.parametrize(("key", "count"), COUNTS.items())
def test_a_count_is_what_it_is_by_hand(tmp_path: Path, key: str, count: int) -> None:
    assert found(tmp_path, f"{key} = {count}") == []
    for wrong in (count - 1, count + 1):
        (finding,) = found(tmp_path, f"{key} = {wrong}")
        assert finding.code == "E0501"
        assert finding.help is not None
        assert finding.help.replacement == f"{count:_}"


def test_the_other_counts_are_those_of_the_analysis(tmp_path: Path) -> None:
    assert found(tmp_path, "params > 0") == []
    known = cost(resnetc.load(tmp_path / "n.rnet").graph)
    figures = {
        "flops": known.flops,
        "activations": known.activations,
        "memory": known.peak_inference_bytes,
        "training_memory": known.peak_training_bytes,
    }
    assert len(set(figures.values())) == len(figures)
    exact = ", ".join(f"{key} = {value}" for key, value in figures.items())
    assert found(tmp_path, exact) == []
    beyond = ", ".join(f"{key} < {value}" for key, value in figures.items())
    assert len(found(tmp_path, beyond)) == len(figures)


@settings(max_examples=40, deadline=None)
@given(relation=st.sampled_from(["=", "<", "<=", ">", ">="]), offset=st.integers(-2, 2))
def test_a_bound_holds_as_its_sign_says(
    tmp_path_factory: pytest.TempPathFactory, relation: str, offset: int
) -> None:
    count = COUNTS["params"]
    holds = eval(f"{count} {'==' if relation == '=' else relation} {count + offset}")
    findings = found(tmp_path_factory.mktemp("bound"), f"params {relation} {count + offset}")
    assert bool(findings) != holds


def test_heads_and_what_is_shared_count_as_they_do_in_the_analysis(tmp_path: Path) -> None:
    """A head's parameters count, its work does not; a shared parameter counts once."""
    rows = "conv1: conv(3x3, 3) -> reuse conv1  aux extra: conv2d(1x1, 2)"
    text = f"network n {{ input 3x8x8  {rows}  expect params = 87, macs = 10_368, depth = 2 }}"
    (tmp_path / "n.rnet").write_text(text)
    assert check_file(tmp_path / "n.rnet").findings == ()
    graph = resnetc.load(tmp_path / "n.rnet").graph
    assert (cost(graph).params, cost(graph).macs) == (87, 2 * 81 * 64)


def test_every_failing_expectation_is_reported(tmp_path: Path) -> None:
    findings = found(
        tmp_path, "params = 1, macs < 1.5, depth > 99, output = 6, receptive_field = 3"
    )
    assert [finding.code for finding in findings] == ["E0501"] * 5
    shown = [finding.primary.span.text for finding in findings]
    assert shown == ["1", "1.5", "99", "6", "3"]


def test_a_shape_has_to_be_the_outputs(tmp_path: Path) -> None:
    assert found(tmp_path, "output = 5") == []
    assert found(tmp_path, "output = [5]") == []
    assert len(found(tmp_path, "output = 5x1x1")) == 1


def test_the_field_is_that_of_the_map_which_is_pooled(tmp_path: Path) -> None:
    # 3, then two pixels more on each side for each of three convolutions at stride 2.
    assert found(tmp_path, "receptive_field = 15x15, receptive_field <= 15") == []
    (finding,) = found(tmp_path, "receptive_field >= 15x16")
    assert "15x15" in finding.message


def test_a_map_that_is_the_output_is_the_last(tmp_path: Path) -> None:
    text = "network n { input 3x9x9  conv1: conv(3x3, 4)  expect receptive_field = 3 }"
    (tmp_path / "n.rnet").write_text(text)
    assert check_file(tmp_path / "n.rnet").findings == ()
    graph = resnetc.load(tmp_path / "n.rnet").graph
    assert last_map_field(graph) == fields(graph)[graph.outputs["logits"]]


def test_values_from_outside_free_a_network_from_its_expectations() -> None:
    assert resnetc.load("resnet18", classes=10).cost.params < 11_689_512


def test_the_depth_of_the_papers_networks_is_their_name() -> None:
    for name, layers in {
        "resnet34_c": 34,
        "resnet101": 101,
        "resnet110": 110,
        "plain20": 20,
    }.items():
        assert depth(resnetc.load(name).graph) == layers


# ----------------------------------------------------------------------------------- weights


@pytest.mark.parametrize("name", ["resnet50", "mobilenet_v3_small", "googlenet", "regnet_y_400mf"])
def test_the_shipped_names_are_torchvisions(name: str) -> None:
    ((_, shapes),) = tool.torchvision_networks([name])
    shipped = published_shapes(f"torchvision/{name}")
    assert dict(shipped) == shapes
    assert list(shipped) == list(shapes)


@pytest.mark.parametrize("name", ["resnet50d", "resnetv2_50x1_bit", "hrnet_w18_small"])
def test_the_shipped_names_are_timms(name: str) -> None:
    ((_, shapes),) = tool.timm_networks([name])
    assert dict(published_shapes(f"timm/{name}")) == shapes


def test_the_shipped_files_say_what_they_are_of() -> None:
    names = published_names()
    assert len(names) == len(set(names)) > 200
    for path in resources.published_weights():
        document = json.loads(path.read_text())
        assert document["source"].split()[0] == path.stem
        used = {n for part in document["parts"] for n in part.values() if isinstance(n, int)}
        assert used | set(document["networks"].values()) == set(range(len(document["parts"])))


def test_all_shipped_weights_can_be_read() -> None:
    assert all(published_shapes(name) for name in published_names())


@pytest.mark.parametrize("name", ["resnet18", "torchvision", "torchvision/", "../x/resnet18", ""])
def test_other_weights_are_refused(name: str) -> None:
    with pytest.raises(UsageError):
        published_shapes(name)


@pytest.mark.slow
def test_the_zoos_networks_take_the_weights_of_their_namesakes() -> None:
    """A network that is called like one of torchvision's or timm's, torchvision's first."""
    known = {name.partition("/")[2]: name for name in reversed(published_names())}
    known |= {n.partition("/")[2]: n for n in published_names() if n.startswith("torchvision/")}
    taken = set()
    for path in sorted(resources.specs().glob("*.rnet")):
        for name, graph in check_file(path).networks.items():
            if name in known and "cifar" not in path.stem:
                here = {path: held.type.shape for path, held in graph.parameters.items()}
                mismatch = compare(here, published_shapes(known[name]))
                assert not mismatch, f"{name}: {mismatch}"
                taken.add(known[name])
    of_torchvision = {name for name in known.values() if name.startswith("torchvision/")}
    assert of_torchvision <= taken
    assert len(taken) > 200


SHAPES = st.sampled_from([(3,), (4,), (4, 3, 1, 1)])
PATHS = st.dictionaries(
    st.lists(st.sampled_from("abc"), min_size=1, max_size=3).map(lambda parts: ".".join(parts)),
    SHAPES,
    max_size=6,
)


@settings(deadline=None)
@given(here=PATHS, there=PATHS)
def test_a_comparison_is_complete(here: dict[str, Any], there: dict[str, Any]) -> None:
    mismatch = compare(here, there)
    assert bool(mismatch) == (here != there)
    assert set(mismatch.only_here) == set(here) - set(there)
    assert set(mismatch.only_there) == set(there) - set(here)
    assert {path for path, *_ in mismatch.reshaped} == {
        path for path in set(here) & set(there) if here[path] != there[path]
    }


@settings(deadline=None)
@given(here=PATHS, new=st.sampled_from(["x", "x.y"]))
def test_a_renamed_part_is_found(here: dict[str, Any], new: str) -> None:
    """`b` became something else in every path, and nothing else did."""
    here = {f"{path}.weight": shape for path, shape in here.items() if path.count("b") == 1}
    there = {
        ".".join(new if part == "b" else part for part in path.split(".")): shape
        for path, shape in here.items()
    }
    mismatch = compare(here, there)
    assert set(mismatch.renames) <= {"b"}
    assert set(mismatch.renames.values()) <= {new}
    assert bool(mismatch.renames) == bool(here)


def test_no_rename_is_offered_where_none_would_do() -> None:
    here = {"a.weight": (3,), "b.weight": (4,)}
    assert compare(here, {"x.weight": (3,)}).renames == {}
    assert compare(here, {"x.weight": (3,), "y.weight": (5,)}).renames == {}
    assert compare({**here, "a.bias": (3,)}, {"x.weight": (3,), "y.bias": (3,)}).renames == {}
    assert compare({"a.weight": (3,)}, {"x.weight": (3,), "y.weight": (5,)}).renames == {}
    swapped = {"p.one.weight": (3,), "p.two.weight": (4,)}
    twice = {"a.one.weight": (3,), "b.two.weight": (4,)}
    assert compare(swapped, twice).renames == {}


def test_the_rename_can_be_applied(tmp_path: Path) -> None:
    case = Path(__file__).parent / "cases" / "E0502-rename.rnet"
    text = case.read_text()
    (finding,) = check_file(case).findings
    advice = finding.help
    assert advice is not None
    assert advice.span is not None
    assert advice.replacement is not None
    mended = text[: advice.span.start] + advice.replacement + text[advice.span.end :]
    (tmp_path / "mended.rnet").write_text(mended)
    assert check_file(tmp_path / "mended.rnet").findings == ()


def test_a_label_inside_a_renamed_one_is_renamed_as_well(tmp_path: Path) -> None:
    resnet = (resources.specs() / "resnet.rnet").read_text()
    odd = resnet.replace("conv2:", "second:").replace("layer3:", "stage3:")
    odd = odd.replace('weights = "torchvision/resnet50"', "buffers > 0")
    odd += 'network mine = resnet50 { expect weights = "torchvision/resnet50" }\n'
    (tmp_path / "odd.rnet").write_text(odd)
    (finding,) = check_file(f"{tmp_path / 'odd.rnet'}:mine").findings
    assert finding.code == "E0502"
    assert finding.help is not None
    assert [edit.replacement for edit in finding.help.edits] == ["conv2", "layer3"]
    second, _ = finding.help.edits
    assert second.span.line == odd[: odd.rindex("second:")].count("\n") + 1


def test_edits_of_several_labels_belong_together(tmp_path: Path) -> None:
    resnet = (resources.specs() / "resnet.rnet").read_text()
    odd = resnet.replace("layer3:", "stage3:").replace("layer1:", "stage1:")
    odd += 'network mine = resnet50 { expect weights = "torchvision/resnet50" }\n'
    (tmp_path / "odd.rnet").write_text(odd)
    found = check_file(f"{tmp_path / 'odd.rnet'}:mine").findings
    (finding,) = (f for f in found if f.primary.span.start > odd.index("mine"))
    assert finding.help is not None
    assert [edit.replacement for edit in finding.help.edits] == ["layer1", "layer3"]
    for edit in reversed(finding.help.edits):
        odd = odd[: edit.span.start] + edit.replacement + odd[edit.span.end :]
    assert odd.startswith(resnet)


def test_a_label_of_another_file_is_shown_but_not_edited(tmp_path: Path) -> None:
    (tmp_path / "parts.rnet").write_text(
        "shortcut P {\n  | [if not changed] identity\n"
        "  | [if changed] proj: seq { conv(1x1, output.channels, stride=stride) -> norm }\n}\n"
    )
    (tmp_path / "n.rnet").write_text(
        "use resnet { resnet18 }\nuse .parts { P }\n"
        'network n = resnet18 with shortcut = P { expect weights = "torchvision/resnet18" }\n'
    )
    with pytest.raises(CompileError) as caught:
        resnetc.load(tmp_path / "n.rnet:n")
    (finding,) = caught.value.diagnostics
    assert "parts.rnet:3:18" in render(finding)
    assert finding.help is not None
    assert finding.help.replacement is None
