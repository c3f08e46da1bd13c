"""onnxruntime on our file, beside torch's traced one and the same slimmed.

    python benchmarks/graphs.py                       # writes results/graphs.json
    python benchmarks/graphs.py --networks resnet110 --batches 1

Contestants, each a session in a process of its own, for two in one process spin against each other;
rounds take turns, and each starts with another:

    resnetc      write_onnx, batch fixed
    traced       torch.onnx.export(module, ..., dynamo=False): torchvision's module, or for the
                 CIFAR networks it lacks, the live module of the same spec
    slimmed      onnxslim of that

All hold the same weights. A figure is the median time of one run in a round.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
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
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=0.5, help="of each round")
    parser.add_argument("--serve", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        _serve(*arguments.serve)
        return
    for network in arguments.networks.split(","):
        for batch in map(int, arguments.batches.split(",")):
            load = load_average()
            result = _measure(network, batch, arguments.rounds, arguments.seconds)
            key = f"{network}, batch {batch}"
            harness.write(
                "graphs", {**_earlier(), key: {**result, "load_average_before": load}}, PACKAGES
            )
            shown = {
                name: f"{each['median'] * 1e3:.2f} ms" for name, each in result["seconds"].items()
            }
            faster = {
                name: f"{each['median']:.2f}" for name, each in result["times_as_fast_as"].items()
            }
            print(key, shown, "times as fast as", faster, flush=True)


def _earlier() -> dict[str, Any]:
    file = harness.RESULTS / "graphs.json"
    return json.loads(file.read_text())["results"] if file.exists() else {}


def _measure(network: str, batch: int, rounds: int, seconds: float) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        files = _files(network, batch, Path(folder))
        served = {
            name: stack.enter_context(
                subprocess.Popen(
                    [sys.executable, __file__, "--serve", str(file), str(batch)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
            for name, file in files.items()
        }
        times: dict[str, list[float]] = {name: [] for name in files}
        for name, number in harness._turns(files, rounds + 1):
            found = _ask(served[name], seconds)
            if number:
                times[name].append(found)
        for process in served.values():
            process.stdin.close()
    ours = times["resnetc"]
    return {
        "seconds": {name: harness.summary(sample) for name, sample in times.items()},
        "times_as_fast_as": {
            name: harness.ratio(sample, ours) for name, sample in times.items() if name != "resnetc"
        },
    }


def _ask(process: subprocess.Popen[str], seconds: float) -> float:
    process.stdin.write(f"{seconds}\n")
    process.stdin.flush()
    return float(process.stdout.readline())


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


def _serve(file: str, batch: str) -> None:
    """Answer each number of seconds by the median time of a run in them."""
    import numpy as np
    import onnxruntime as ort

    session = ort.InferenceSession(file, providers=["CPUExecutionProvider"])
    (port,) = session.get_inputs()
    shape = (int(batch), *port.shape[1:])
    image = np.random.default_rng(0).standard_normal(shape, np.float32)
    for line in sys.stdin:
        times: list[float] = []
        end = time.perf_counter() + float(line)
        session.run(None, {port.name: image})
        while len(times) < 3 or time.perf_counter() < end:
            start = time.perf_counter()
            session.run(None, {port.name: image})
            times.append(time.perf_counter() - start)
        print(statistics.median(times), flush=True)


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    main()
