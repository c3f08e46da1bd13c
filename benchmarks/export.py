"""Spec plus weights to an ONNX file, beside torch.onnx.export of the same network.

    python benchmarks/export.py                       # everything; writes results/export.json
    python benchmarks/export.py --networks resnet18 --rounds 3

Contestants, taking turns in one process, with the frameworks imported and the weights in memory:

    resnetc      parse and lower the spec, fold, check, write (and fsync) the file
    dynamo       torch.onnx.export(module, ..., dynamo=True)
    torchscript  torch.onnx.export(module, ..., dynamo=False)

The module is torchvision's, or, for the CIFAR networks it lacks, the live module of the same spec.
All write weights inline and leave the batch dynamic. Peak memory is of processes of their own, from
start to end, beside the same process without the export: resnetc's reads the weights lazily from a
.safetensors file and never imports torch. A network that is not asked for keeps the figures of its
last run.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import logging
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import harness
from resnetc.bench.machine import load_average

if TYPE_CHECKING:
    import torch

ROUNDS = {"resnet18": 7, "resnet50": 7, "resnet152": 5, "resnet110": 5, "resnet1202": 3}
CONTESTANTS = ("resnetc", "dynamo", "torchscript")
PACKAGES = ("torch", "torchvision", "onnx", "onnxscript", "onnx-ir", "onnxruntime", "numpy")
TARGET = 10
"""Times faster than dynamo."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", default=",".join(ROUNDS))
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--part", nargs=4, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.part:
        _one_process(*arguments.part)
        return
    for network in arguments.networks.split(","):
        load = load_average()
        memory = _memory(network)
        times = _times_in_a_process(network, arguments.rounds or ROUNDS[network])
        result = {**times, "peak_bytes": memory, "load_average_before": load}
        harness.write("export", {**harness.earlier("export"), network: result}, PACKAGES)
        _say(network, result)


def _say(network: str, result: dict[str, Any]) -> None:
    seconds = {name: result["seconds"][name]["median"] for name in CONTESTANTS}
    shown = "  ".join(f"{name} {value:.3f} s" for name, value in seconds.items())
    peaks = "  ".join(f"{result['peak_bytes'][name]['export'] / 1e6:.0f}" for name in CONTESTANTS)
    ratio = result["times_faster_than"]["dynamo"]["median"]
    print(f"{network:<11} {shown}  peak MB {peaks}  {ratio:.0f}x dynamo", flush=True)


# ----------------------------------------------------------------------------------------- time


def _times_in_a_process(network: str, rounds: int) -> dict[str, Any]:
    """This process stays small: a child's peak memory is told apart from ours only then."""
    argv = [sys.executable, __file__, "--part", "times", network, str(rounds), ""]
    done = subprocess.run(argv, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout)


def _times(network: str, rounds: int) -> dict[str, Any]:
    import resnetc

    module = _module(network)
    weights = module.state_dict()
    with tempfile.TemporaryDirectory() as folder:
        files = {name: Path(folder) / f"{name}.onnx" for name in CONTESTANTS}
        calls: dict[str, Callable[[], object]] = {
            "resnetc": lambda: resnetc.load(network).to_onnx(files["resnetc"], weights=weights),
            "dynamo": lambda: _torch_export(module, files["dynamo"], dynamo=True),
            "torchscript": lambda: _torch_export(module, files["torchscript"], dynamo=False),
        }
        times = harness.interleave(calls, rounds)
        agreement = _agreement(module, files["resnetc"])
        nodes = {name: _nodes(file) for name, file in files.items()}
        size = {name: file.stat().st_size for name, file in files.items()}
    ours = times["resnetc"]
    return {
        "seconds": {name: harness.summary(sample) for name, sample in times.items()},
        "times_faster_than": {
            name: harness.ratio(times[name], ours) for name in CONTESTANTS if name != "resnetc"
        },
        "target_times_faster_than_dynamo": TARGET,
        "nodes": nodes,
        "file_bytes": size,
        "largest_error_relative_to_torch": agreement,
    }


def _module(network: str) -> torch.nn.Module:
    import torch
    import torchvision

    import resnetc
    from resnetc.backends.random_weights import random_weights

    net = resnetc.load(network)
    if hasattr(torchvision.models, network):
        module = getattr(torchvision.models, network)()
    else:
        module = net.to_torch()
    drawn = random_weights(net.graph)
    module.load_state_dict({path: torch.from_numpy(drawn[path].copy()) for path in drawn})
    return module.eval()


def _example(module: torch.nn.Module) -> torch.Tensor:
    import torch

    side = 224 if module.conv1.stride[0] == 2 else 32
    return torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(0))


def _torch_export(module: torch.nn.Module, file: Path, *, dynamo: bool) -> None:
    import torch

    example = _example(module)
    names: dict[str, Any] = {"input_names": ["input"], "output_names": ["logits"]}
    if dynamo:
        names["dynamic_shapes"] = ({0: torch.export.Dim("N")},)
        names["external_data"] = False
    else:
        names["dynamic_axes"] = {"input": {0: "N"}, "logits": {0: "N"}}
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        torch.onnx.export(module, (example,), file, dynamo=dynamo, **names)


def _agreement(module: torch.nn.Module, file: Path) -> float:
    import onnxruntime
    import torch

    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    example = _example(module)
    with torch.inference_mode():
        expected = module(example).numpy()
    found = session.run(None, {"input": example.numpy()})[0]
    return float(abs(found - expected).max() / abs(expected).max())


def _nodes(file: Path) -> int:
    import onnx

    return len(onnx.load(file, load_external_data=False).graph.node)


# --------------------------------------------------------------------------------------- memory


def _memory(network: str) -> dict[str, dict[str, int]]:
    """Peak resident bytes of a process that exports, and of one that stops just before."""
    with tempfile.TemporaryDirectory() as folder:
        weights = str(Path(folder) / "weights.safetensors")
        argv = [sys.executable, __file__, "--part"]
        harness.measure_process([*argv, "weights", network, "prepare", weights])
        return {
            name: {
                step: harness.peak([harness.measure_process([*argv, name, network, step, weights])])
                for step in ("prepare", "export")
            }
            for name in CONTESTANTS
        }


def _one_process(contestant: str, network: str, step: str, weights: str) -> None:
    import resnetc
    from resnetc.backends.weights import read_weights, write_weights

    if contestant == "times":
        print(json.dumps(_times(network, int(step))))
        return
    if contestant == "weights":
        write_weights(Path(weights), _module(network).state_dict())
        return
    file = Path(weights).with_suffix(f".{contestant}.onnx")
    if contestant == "resnetc":
        from resnetc.backends.onnx import write_onnx

        held = read_weights(Path(weights))
        if step == "export":
            write_onnx(resnetc.load(network).graph, file, held)
        assert "torch" not in sys.modules
        return
    module = _module(network)
    if step == "export":
        _torch_export(module, file, dynamo=contestant == "dynamo")


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    main()
