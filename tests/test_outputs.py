"""Features: a network built up to any label, on every backend, with the weights of the whole."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import tensorrt_rtx
import torch
import torchvision
from small_graphs import some_weights

import resnetc
from resnetc.backends.onnx import model_bytes
from resnetc.backends.tensorrt import TensorRtOptions, build_engine
from resnetc.backends.weights import fit_weights
from resnetc.bench import Request, run_bench
from resnetc.cli.main import run
from resnetc.diagnostics import CompileError, UsageError
from resnetc.ir import Graph, Scope
from resnetc.ir.outputs import NoSuchOutputError, find_output, with_outputs
from resnetc.passes import lower_for_inference

Tensors = dict[str, torch.Tensor]


def hooked(module: torch.nn.Module, labels: list[str], image: torch.Tensor) -> Tensors:
    """What torch itself gives behind these submodules, by forward hooks."""
    found: Tensors = {}
    for label in labels:

        def keep(_: torch.nn.Module, __: object, made: torch.Tensor, label: str = label) -> None:
            found[label] = made.clone()  # torchvision's ReLUs write over their operands

        module.get_submodule(label).register_forward_hook(keep)
    with torch.inference_mode():
        found["logits"] = module.eval()(image)
    return found


def outputs_of(net: resnetc.Network, module: torch.nn.Module, image: torch.Tensor) -> Tensors:
    with torch.inference_mode():
        result = module.eval()(image)
    return result if isinstance(result, dict) else dict.fromkeys(net.graph.outputs, result)


def of_onnx(model: bytes, image: torch.Tensor) -> dict[str, np.ndarray]:
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    names = [port.name for port in session.get_outputs()]
    return dict(zip(names, session.run(names, {"input": image.numpy()}), strict=True))


# --------------------------------------------------------------------- the same as hooks on torch


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("resnet18", ["layer2", "layer3"]),
        ("resnet18", ["conv1", "bn1", "layer1.0.conv1", "layer1.0", "logits"]),
        ("resnet18", ["layer2.0.downsample", "layer2.0.bn2", "layer2"]),
        ("resnet50", ["layer4", "layer1.0.conv3", "fc"]),
        ("densenet121", ["features.denseblock1", "features.transition1"]),
        ("mobilenet_v2", ["features.3", "features.18"]),
        ("vgg11", ["features.5"]),
    ],
)
def test_features_are_what_hooks_on_torchvision_give(name: str, labels: list[str]) -> None:
    torch.manual_seed(0)
    theirs = getattr(torchvision.models, name)(weights=None)
    image = torch.randn(2, 3, 64, 64)
    net = resnetc.load(name, outputs=labels)
    assert list(net.graph.outputs) == labels
    module = net.to_torch()
    state = theirs.state_dict()
    module.load_state_dict(state)  # strict, and of the whole network
    expected = hooked(theirs, [label for label in labels if label != "logits"], image)
    found = outputs_of(net, module, image)
    assert list(found) == labels
    for label in labels:
        torch.testing.assert_close(found[label], expected[label], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("labels", [["layer2", "layer1.0.conv1", "logits"], ["layer3"]])
def test_onnx_gives_the_same_under_the_same_names(labels: list[str]) -> None:
    net = resnetc.load("resnet18", outputs=labels)
    weights = some_weights(resnetc.load("resnet18").graph)
    image = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(1))
    module = net.to_torch()
    module.load_state_dict({path: torch.from_numpy(array) for path, array in weights.items()})
    expected = outputs_of(net, module, image)
    model = model_bytes(net.graph, weights)
    found = of_onnx(model, image)
    assert list(found) == labels == list(expected)
    for label in labels:
        scale = expected[label].abs().max().item()
        assert np.abs(found[label] - expected[label].numpy()).max() < 2e-5 * scale
    assert "Identity" not in {node.op_type for node in onnx.load_from_string(model).graph.node}


def test_a_convolution_that_is_an_output_keeps_its_own_values() -> None:
    """Its batch norm is not folded into it: what is asked for is what the layer gives."""
    net = resnetc.load("resnet20", outputs=["conv1"])
    weights = some_weights(net.graph)
    image = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    expected = torch.nn.functional.conv2d(
        image, torch.from_numpy(weights["conv1.weight"]), padding=1
    )
    (found,) = of_onnx(model_bytes(net.graph, weights), image).values()
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_an_engine_gives_the_same_names_and_shapes(tmp_path: Path, precision: str) -> None:
    labels = ["layer2", "layer1.0.conv1", "logits"]
    net = resnetc.load("resnet20", outputs=labels)
    options = TensorRtOptions(precision, batch=2, library="tensorrt_rtx")
    report = build_engine(
        net.graph, tmp_path / "n.engine", some_weights(net.graph), options=options
    )
    ports = json.loads(report.sidecar.read_text())["tensors"]
    shapes = {port["name"]: port["shape"] for port in ports if port["mode"] == "output"}
    assert shapes == {
        "layer2": [2, 32, 16, 16],
        "layer1.0.conv1": [2, 16, 32, 32],
        "logits": [2, 10],
    }
    assert tensorrt_rtx.__version__ == report.version


# -------------------------------------------------------------------------------- what is left out


def test_layers_behind_the_last_output_go_and_their_weights_are_passed_over() -> None:
    whole = resnetc.load("resnet18")
    part = whole.with_outputs(["layer2"])
    assert part.graph.outputs.keys() == {"layer2"}
    assert {node.name.split(".")[0] for node in part.graph} == {
        *("input", "conv1", "bn1", "relu", "maxpool", "layer1", "layer2"),
    }
    assert "fc.weight" in part.graph.left_out
    assert part.graph.left_out | part.graph.parameters.keys() == whole.graph.parameters.keys()
    assert part.cost.params < whole.cost.params / 10
    assert part.graph.hash != whole.graph.hash
    weights = some_weights(whole.graph)
    fit_weights(part.graph, weights)
    with pytest.raises(UsageError, match=r"not in the network: head\.weight"):
        fit_weights(part.graph, {**weights, "head.weight": weights["fc.weight"]})
    with pytest.raises(UsageError, match=r"missing: conv1\.weight"):
        fit_weights(part.graph, {k: v for k, v in weights.items() if k != "conv1.weight"})


def test_a_live_part_still_refuses_weights_of_another_network() -> None:
    module = resnetc.load("resnet20", outputs=["layer1"]).to_torch()
    state = {**module.state_dict(), "fc.weight": torch.zeros(10, 64)}
    module.load_state_dict(state)
    assert "fc.weight" in state  # the caller's mapping is left alone
    with pytest.raises(RuntimeError, match=r"Unexpected key.*head\.weight"):
        module.load_state_dict({**state, "head.weight": torch.zeros(1)})


def test_parts_of_parts_and_bound_parameters() -> None:
    part = resnetc.load("resnet18", outputs=["layer3", "layer1"]).with_outputs(["layer1"])
    assert "layer2.0.conv1.weight" in part.graph.left_out
    assert "fc.weight" in part.graph.left_out
    assert part.bind(classes=7).outputs == ("layer1",)
    assert list(part.bind(classes=7).graph.outputs) == ["layer1"]


def test_auxiliary_heads_go_unless_they_are_asked_for() -> None:
    net = resnetc.load("googlenet")
    assert net.graph.aux
    part = net.with_outputs(["inception4b"])
    assert not part.graph.aux
    assert any(path.startswith("aux1.") for path in part.graph.left_out)
    head = net.with_outputs([next(iter(net.graph.aux))])
    assert any(path.startswith("aux1.") for path in head.graph.parameters)


# ------------------------------------------------------------------------------------------ labels


def compiled(tmp_path: Path, text: str) -> resnetc.Network:
    (tmp_path / "net.rnet").write_text("rnet 1\n" + text)
    return resnetc.load(tmp_path / "net.rnet")


def test_the_end_of_a_block_is_what_its_own_layers_do_not_read(tmp_path: Path) -> None:
    graph = compiled(
        tmp_path,
        """
network n {
  input 3x16x16
  stem: seq {
    conv1: conv(3x3, 8) as early -> act
    conv2: conv(3x3, 8)
  }
  end: conv(1x1, 4)
}
""",
    ).graph
    assert graph[find_output(graph, "stem")].name == "stem.conv2"
    assert graph[find_output(graph, "stem.conv1")].name == "stem.conv1"
    assert graph[find_output(graph, "end")].id == graph.outputs["logits"]


def test_a_reused_block_gives_what_its_last_call_gives(tmp_path: Path) -> None:
    net = compiled(
        tmp_path,
        """
network n {
  input 8x16x16
  step: seq { c: seq { conv(3x3, 8) } -> act }
  maxpool(2x2, stride=2)
  reuse step
  end: conv(1x1, 4)
}
""",
    )
    assert net.graph[find_output(net.graph, "step")].type.shape == (8, 8, 8)
    assert net.graph[find_output(net.graph, "step.c")].type.shape == (8, 8, 8)
    module = net.with_outputs(["step"]).to_torch()
    assert module(torch.zeros(1, 8, 16, 16)).shape == (1, 8, 8, 8)


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ("layer5", r"no block or layer of resnet18 is labelled `layer5`; did you mean `layer\d`\? "
         r"\(.*resnet\.rnet:\d+\)"),
        ("layer1.0.conv9", r"did you mean `layer1\.0\.conv\d`\?"),
        ("logit", r"did you mean `logits`\?$"),
        ("zzz", r"is labelled `zzz`$"),
        ("input", r"no block or layer of resnet18 is labelled `input`"),
    ],
)  # fmt: skip
def test_an_unknown_label(labels: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UsageError, match=said):
        resnetc.load("resnet18", outputs=[labels])
    assert run(["export", "resnet18", "--to", "torch", "--outputs", labels]) == 2
    assert "labelled" in capsys.readouterr().err


def test_a_list_is_wanted() -> None:
    wrong: str | list[str]
    for wrong in ("layer2", []):
        with pytest.raises(UsageError, match="outputs are a list of labels"):
            resnetc.load("resnet18", outputs=wrong)


def test_a_block_of_several_tensors_is_not_guessed_at() -> None:
    graph = resnetc.load("hrnet_w18_small").graph
    with pytest.raises(NoSuchOutputError, match=r"`stage2` of \w+ gives \d+ tensors, so name one"):
        find_output(graph, "stage2")


def test_a_parameter_and_an_output_do_not_share_a_name() -> None:
    graph: Graph = resnetc.load("convnext_tiny").graph
    name = next(path for path in graph.parameters if path.endswith("layer_scale"))
    with pytest.raises(NoSuchOutputError, match="is the name of a parameter"):
        with_outputs(graph, [name])
    assert with_outputs(graph, [name.rpartition(".")[0]]).outputs


# ------------------------------------------------------------------------------------ command line


def test_export_verify_and_build_take_labels(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    labels = ["--outputs", "layer2,logits"]
    assert run(["export", "resnet20", "--to", "onnx,torch", *labels]) == 0
    model = onnx.load("export/resnet20.onnx")
    assert [port.name for port in model.graph.output] == ["layer2", "logits"]
    props = {prop.key: prop.value for prop in model.metadata_props}
    assert json.loads(props["resnetc.outputs"]) == ["layer2", "logits"]
    assert '"layer2"' in Path("export/resnet20.py").read_text()
    assert run(["verify", "resnet20", "--onnx", "export/resnet20.onnx", *labels]) == 0
    assert "layer2" in capsys.readouterr().out
    assert run(["verify", "resnet20", "--onnx", "export/resnet20.onnx"]) != 0
    assert run(["build", "resnet20", "--export", "onnx", "--outputs", "layer1"]) == 0
    built = onnx.load("build/resnet20/export/resnet20.onnx").graph
    assert [port.name for port in built.output] == ["layer1"]
    assert json.loads(Path("build/resnet20/report.json").read_text())["outputs"] == ["layer1"]
    assert run(["build", "resnet20", "--train", "--data", "digits", "--outputs", "nope"]) == 2


def test_bench_measures_a_part() -> None:
    request = Request(
        "resnet20",
        outputs=("layer1", "layer2"),
        backends=("eager", "onnxruntime"),
        batches=(2,),
        seconds=0.1,
        rounds=2,
        warm_up=0.01,
        threads=1,
    )
    report = run_bench(request)
    assert [m.backend for m in report.measurements] == ["eager", "onnxruntime"]
    assert all(m.parity.holds for m in report.measurements)
    assert report.about["outputs"] == ["layer1", "layer2"]


# ------------------------------------------------------------------------------------- in the spec


def test_a_variant_says_its_outputs(tmp_path: Path) -> None:
    (tmp_path / "net.rnet").write_text(
        "rnet 1\nuse resnet { resnet18 }\n"
        'network features = resnet18 { output "layer2", "layer3" }\n'
        'network both = resnet18 { output "layer3", "logits" }\n'
        "network smaller = features with shortcut = A\n"
    )
    features = resnetc.load(f"{tmp_path}/net.rnet:features")
    asked = resnetc.load("resnet18", outputs=["layer2", "layer3"])
    assert list(features.graph.outputs) == ["layer2", "layer3"]
    assert len(features.graph) == len(asked.graph)
    assert features.graph.left_out == asked.graph.left_out
    both = resnetc.load(f"{tmp_path}/net.rnet:both").graph
    assert list(both.outputs) == ["layer3", "logits"]
    smaller = resnetc.load(f"{tmp_path}/net.rnet:smaller").graph
    assert list(smaller.outputs) == ["layer2", "layer3"]
    assert smaller[smaller.outputs["layer3"]].type.shape == (256, 14, 14)


def test_a_network_names_labels_among_its_outputs(tmp_path: Path) -> None:
    text = """
network n {
  input 3x16x16
  stem: seq { conv1: conv(3x3, 8) -> act } as early
  conv2: conv(3x3, 8)
  output early, "stem.conv1"
}
"""
    graph = compiled(tmp_path, text).graph
    assert list(graph.outputs) == ["early", "stem.conv1"]
    assert "conv2.weight" not in graph.parameters
    assert "conv2.weight" in graph.left_out


def test_heads_of_training_stay_in_a_spec_and_are_no_end_of_their_block(tmp_path: Path) -> None:
    text = """
network n {
  input 3x16x16
  stem: seq {
    conv1: conv(3x3, 8)
    conv2: conv(3x3, 8)
  }
  aux aux1: seq { gap -> flatten -> fc: linear(4) }
  head: conv(1x1, 4)
  output "stem"
}
"""
    graph = compiled(tmp_path, text).graph
    assert list(graph.aux) == ["aux1"]
    assert "aux1.fc.weight" in graph.parameters
    lowered = lower_for_inference(graph).graph
    assert (list(lowered.outputs), lowered.aux) == (["stem"], {})
    assert lowered.left_out == graph.left_out
    assert "head.weight" in graph.left_out


def test_a_head_inside_a_block_is_not_its_end() -> None:
    """As where a stage is labelled that has an auxiliary head within."""
    stage = Scope(1, 0, "stage", "seq", None)
    nodes = [
        replace(node, scope=0 if node.op.name == "input" else 1)
        for node in resnetc.load("resnet20").with_outputs(["layer1.0.conv1"]).graph
    ]
    conv, *_, end = (node for node in nodes if node.op.name == "conv2d")
    graph = Graph("n", nodes, {"logits": end.id}, (Scope(0, None, "", "n", None), stage))
    inner = next(n for n in nodes if n.op.name == "relu")
    head = replace(inner, id=1000, name="head", inputs=(conv.id,))
    graph = Graph("n", [*nodes, head], graph.outputs, graph.scopes, {"aux": head.id})
    assert find_output(graph, "stage") == end.id


def test_a_wrong_label_in_a_spec_is_located(tmp_path: Path) -> None:
    (tmp_path / "net.rnet").write_text(
        'rnet 1\nuse resnet { resnet18 }\nnetwork n = resnet18 { output "layer5" }\n'
    )
    with pytest.raises(CompileError, match="E0419") as caught:
        resnetc.load(tmp_path / "net.rnet")
    (found,) = caught.value.diagnostics
    assert found.primary.span.text == '"layer5"'
    assert found.help is not None
    assert found.help.replacement in {f'"layer{i}"' for i in range(1, 5)}
