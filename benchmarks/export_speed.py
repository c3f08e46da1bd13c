"""Weights and graph to an ONNX file, beside the raw write of the same bytes.

    python benchmarks/export_speed.py                      # writes results/export_speed.json
    python benchmarks/export_speed.py --networks resnet18 --rounds 3 --dynamo

Contestants, taking turns in one process, with the frameworks imported and the weights in memory:

    raw          the inline file's bytes, from memory, through the same fsync and rename
    raw_pair     the bytes of model and data file, in the same way: what `external` is held against
    inline       write_onnx of a graph that was compiled just now: fold, check, hash, write, fsync
    external     the same, weights in a file of their own; both files replace older ones, for which
                 the model is written twice, so that it never stands beside another's weights
    torchscript  torch.onnx.export(module, ..., dynamo=False)
    dynamo       torch.onnx.export(module, ..., dynamo=True); only with --dynamo
    onnxslim     what torchscript wrote, loaded, slimmed and saved

Every call of ours gets a graph that nothing was computed of yet. The processor's time is told
beside the wall time: the disk's share of it is small, and other work on the machine changes it
less. Peak memory is of processes of their own that read the weights lazily from a .safetensors
file, beside the same process without the export. A network that is not asked for keeps the figures
of its last run.
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
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import export as exporting
import harness
from resnetc.bench.machine import load_average

ROUNDS = {
    "resnet18": 9,
    "resnet34": 9,
    "resnet50": 9,
    "resnet101": 7,
    "resnet152": 7,
    "resnet110": 9,
    "resnet1202": 5,
}
PACKAGES = ("torch", "torchvision", "onnx", "onnxslim", "onnxsim", "numpy")
TARGET = 2
"""Times the raw write, at most."""
MEMORY_TARGET = 50e6
"""Bytes beside the weights once, at most."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", default=",".join(ROUNDS))
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--dynamo", action="store_true", help="torch's other exporter, too")
    parser.add_argument("--part", nargs=4, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.part:
        _one_process(*arguments.part)
        return
    for network in arguments.networks.split(","):
        load = load_average()
        memory = _memory(network)
        rounds = arguments.rounds or ROUNDS[network]
        result = {**_times_in_a_process(network, rounds, dynamo=arguments.dynamo), **memory}
        result["load_average_before"] = load
        harness.write(
            "export_speed", {**harness.earlier("export_speed"), network: result}, PACKAGES
        )
        _say(network, result)


def _say(network: str, result: dict[str, Any]) -> None:
    seconds = {name: each["median"] * 1e3 for name, each in result["seconds"].items()}
    shown = "  ".join(f"{name} {value:.0f}" for name, value in seconds.items())
    times = {name: each["median"] for name, each in result["times_the_raw_write"].items()}
    beside = result["peak_bytes_beside_the_weights"] / 1e6
    print(
        f"{network:<11} ms: {shown}   raw x {times['inline']:.1f} inline, "
        f"{times['external']:.1f} external   {beside:+.0f} MB beside the weights",
        flush=True,
    )


# ----------------------------------------------------------------------------------------- time


def _times_in_a_process(network: str, rounds: int, *, dynamo: bool) -> dict[str, Any]:
    argv = [sys.executable, __file__, "--part", "times", network, str(rounds), str(int(dynamo))]
    done = subprocess.run(argv, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout)


def _times(network: str, rounds: int, *, dynamo: bool) -> dict[str, Any]:
    import resnetc
    from resnetc.atomic import replacing
    from resnetc.backends.onnx import OnnxOptions, write_onnx
    from resnetc.backends.weights import as_arrays

    module = exporting._module(network)
    weights = as_arrays(module.state_dict())
    graphs = [resnetc.load(network).graph for _ in range(2 * (rounds + 2))]
    with tempfile.TemporaryDirectory() as folder:
        names = ("inline", "external", "torchscript", "onnxslim", "dynamo")
        files = {name: Path(folder) / f"{name}.onnx" for name in names}
        outside = OnnxOptions(external=True)
        whole = write_onnx(graphs.pop(), files["inline"], weights)
        pair = write_onnx(graphs.pop(), files["external"], weights, options=outside)

        def raw(written: tuple[Path, ...]) -> Callable[[], None]:
            contents = {Path(folder) / f"raw_{file.name}": file.read_bytes() for file in written}

            def write() -> None:
                for place, content in contents.items():
                    with replacing(place) as file:
                        file.write(content)

            return write

        calls: dict[str, Callable[[], object]] = {
            "raw": raw(whole),
            "raw_pair": raw(pair),
            "inline": lambda: write_onnx(graphs.pop(), files["inline"], weights),
            "external": lambda: write_onnx(
                graphs.pop(), files["external"], weights, options=outside
            ),
        }
        ours, cpu = _interleaved(calls, rounds)
        theirs: dict[str, Callable[[], object]] = {
            "torchscript": lambda: exporting._torch_export(
                module, files["torchscript"], dynamo=False
            ),
            "onnxslim": lambda: _slim(files["torchscript"], files["onnxslim"]),
        }
        if dynamo:
            theirs["dynamo"] = lambda: exporting._torch_export(module, files["dynamo"], dynamo=True)
        slow = harness.interleave(theirs, max(1, rounds // 3), warmup=1)
        nodes = {name: exporting._nodes(file) for name, file in files.items() if file.exists()}
        size = whole[0].stat().st_size
    return {
        "bytes": size,
        "seconds": {name: harness.summary(sample) for name, sample in {**ours, **slow}.items()},
        "cpu_seconds": {name: harness.summary(sample) for name, sample in cpu.items()},
        "times_the_raw_write": {
            name: harness.ratio(ours[name], ours[raw])
            for name, raw in (("inline", "raw"), ("external", "raw_pair"))
        },
        "target_times_the_raw_write": TARGET,
        "nodes": nodes,
    }


def _slim(traced: Path, slimmed: Path) -> None:
    import onnxslim

    with contextlib.redirect_stdout(io.StringIO()):
        onnxslim.slim(str(traced), str(slimmed))


def _interleaved(
    calls: dict[str, Callable[[], object]], rounds: int
) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Wall seconds, and the processor's seconds of the same calls."""
    cpu: dict[str, list[float]] = {name: [] for name in calls}

    def counted(name: str) -> Callable[[], None]:
        def call() -> None:
            start = time.process_time()
            calls[name]()
            cpu[name].append(time.process_time() - start)

        return call

    wall = harness.interleave({name: counted(name) for name in calls}, rounds)
    return wall, {name: sample[-rounds:] for name, sample in cpu.items()}


# --------------------------------------------------------------------------------------- memory


def _memory(network: str) -> dict[str, Any]:
    """Peak bytes of a process that exports, of one that stops just before, and what the first
    needs beyond the second and the weights."""
    with tempfile.TemporaryDirectory() as folder:
        weights = str(Path(folder) / "weights.safetensors")
        argv = [sys.executable, __file__, "--part"]
        harness.measure_process([*argv, "weights", network, "", weights])
        size = Path(weights).stat().st_size
        peaks = {
            step: harness.peak([harness.measure_process([*argv, step, network, "", weights])])
            for step in ("prepare", "inline", "external")
        }
    most = max(peaks["inline"], peaks["external"])
    return {
        "peak_bytes": peaks,
        "weights_bytes": size,
        "peak_bytes_beside_the_weights": most - peaks["prepare"] - size,
        "target_bytes_beside_the_weights": MEMORY_TARGET,
    }


def _one_process(step: str, network: str, option: str, weights: str) -> None:
    import resnetc
    from resnetc.backends.onnx import OnnxOptions, write_onnx
    from resnetc.backends.weights import read_weights, write_weights

    if step == "times":
        print(json.dumps(_times(network, int(option), dynamo=weights == "1")))
        return
    if step == "weights":
        write_weights(Path(weights), exporting._module(network).state_dict())
        return
    graph = resnetc.load(network).graph
    held = read_weights(Path(weights))
    if step != "prepare":
        options = OnnxOptions(external=step == "external")
        write_onnx(graph, Path(weights).with_suffix(".onnx"), held, options=options)
    assert "torch" not in sys.modules


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    main()
