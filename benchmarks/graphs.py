"""onnxruntime on our file, beside torch's traced one and the same slimmed.

    python benchmarks/graphs.py                       # writes results/graphs.json
    python benchmarks/graphs.py --networks resnet110 --batches 1

Contestants, each a session in a process of its own, for two in one process spin against each other.
Every round has new processes, one after the other, and starts with another contestant: how a
process's memory happens to lie changes its speed by some percent for as long as it lives.

    resnetc      write_onnx, batch fixed
    traced       torch.onnx.export(module, ..., dynamo=False): torchvision's module, or for the
                 CIFAR networks it lacks, the live module of the same spec
    slimmed      onnxslim of that

All hold the same weights. A figure is the median time of one run in a round. Beside the times
stands how many nodes onnxruntime's own optimizer leaves, and whether what it leaves of ours is what
it leaves of the others, node for node: where it is, what differs between the times is not the
graph.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import logging
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import export as exporting
import harness
from resnetc.bench.machine import load_average

NETWORKS = ("resnet18", "resnet50", "resnet110")
PACKAGES = ("torch", "torchvision", "onnx", "onnxruntime", "onnxslim", "numpy")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", default=",".join(NETWORKS))
    parser.add_argument("--batches", default="1,32")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.5, help="of each round")
    parser.add_argument("--time", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.time:
        _time(*arguments.time)
        return
    for network in arguments.networks.split(","):
        for batch in map(int, arguments.batches.split(",")):
            load = load_average()
            result = _measure(network, batch, arguments.rounds, arguments.seconds)
            key = f"{network}, batch {batch}"
            harness.write(
                "graphs",
                {**harness.earlier("graphs"), key: {**result, "load_average_before": load}},
                PACKAGES,
            )
            shown = {
                name: f"{each['median'] * 1e3:.2f} ms" for name, each in result["seconds"].items()
            }
            faster = {
                name: f"{each['median']:.2f}" for name, each in result["times_as_fast_as"].items()
            }
            same = ", ".join(result["optimized_as_ours"]) or "none"
            print(key, shown, "times as fast as", faster, "optimized as ours:", same, flush=True)


def _measure(network: str, batch: int, rounds: int, seconds: float) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        files = _files(network, batch, Path(folder))
        times: dict[str, list[float]] = {name: [] for name in files}
        for name, _ in harness._turns(files, rounds):
            times[name].append(_in_a_process(files[name], batch, seconds))
        left = {name: _optimized(file) for name, file in files.items()}
    ours = times["resnetc"]
    return {
        "seconds": {name: harness.summary(sample) for name, sample in times.items()},
        "times_as_fast_as": {
            name: harness.ratio(sample, ours) for name, sample in times.items() if name != "resnetc"
        },
        "optimized_nodes": {name: len(nodes) for name, nodes in left.items()},
        "optimized_as_ours": [
            name for name in left if name != "resnetc" and left[name] == left["resnetc"]
        ],
    }


def _in_a_process(file: Path, batch: int, seconds: float) -> float:
    argv = [sys.executable, __file__, "--time", str(file), str(batch), str(seconds)]
    return float(subprocess.run(argv, stdout=subprocess.PIPE, text=True, check=True).stdout)


def _optimized(file: Path) -> list[tuple[str, str, str]]:
    """The nodes that onnxruntime's optimizer leaves, sorted: domain, op and those attributes that
    are not at their default."""
    import onnx
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.optimized_model_filepath = str(file.with_suffix(".optimized.onnx"))
    options.log_severity_level = 3  # it warns that the file suits this machine alone
    ort.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    model = onnx.load(options.optimized_model_filepath)
    return sorted(
        (node.domain, node.op_type, "; ".join(sorted(filter(None, map(_told, node.attribute)))))
        for node in model.graph.node
    )


_DEFAULTS = ("dilations=[1, 1]", "ceil_mode=0", "storage_order=0", "auto_pad=b'NOTSET'")


def _told(attribute: Any) -> str:
    """An attribute by name and value; nothing of one that says what is so anyway."""
    import onnx

    value = onnx.helper.get_attribute_value(attribute)
    told = f"{attribute.name}={value}"
    return "" if told in _DEFAULTS else told


def _files(network: str, batch: int, folder: Path) -> dict[str, Path]:
    import onnxslim
    import torch

    import resnetc
    from resnetc.backends.onnx import OnnxOptions, write_onnx
    from resnetc.backends.weights import as_arrays

    module = exporting._module(network)
    files = {name: folder / f"{name}.onnx" for name in ("resnetc", "traced", "slimmed")}
    graph, weights = resnetc.load(network).graph, as_arrays(module.state_dict())
    write_onnx(graph, files["resnetc"], weights, options=OnnxOptions(batch=batch))
    example = torch.zeros(batch, *graph.inputs[0].type.shape)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        torch.onnx.export(module, (example,), files["traced"], dynamo=False, input_names=["input"])
        onnxslim.slim(str(files["traced"]), str(files["slimmed"]))
    return files


def _time(file: str, batch: str, seconds: str) -> None:
    """Print the median time of a run, of so many seconds of runs and at least three."""
    import numpy as np
    import onnxruntime as ort

    session = ort.InferenceSession(file, providers=["CPUExecutionProvider"])
    (port,) = session.get_inputs()
    shape = (int(batch), *port.shape[1:])
    image = np.random.default_rng(0).standard_normal(shape, np.float32)
    session.run(None, {port.name: image})
    times: list[float] = []
    end = time.perf_counter() + float(seconds)
    while len(times) < 3 or time.perf_counter() < end:
        start = time.perf_counter()
        session.run(None, {port.name: image})
        times.append(time.perf_counter() - start)
    print(statistics.median(times))


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    main()
