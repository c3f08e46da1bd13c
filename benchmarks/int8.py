"""Eight bits, beside onnxruntime's own static quantizer.

    python benchmarks/int8.py                          # everything; writes results/int8.json
    python benchmarks/int8.py --networks resnet50 --rounds 20

For each network, in one process and one run, with random weights and the same images:

    quantize   seconds from the fp32 network to the int8 file, calibration (min-max) included, and
               the processor's, which other work on the machine disturbs less
    nodes      QuantizeLinear and DequantizeLinear in the file
    speed      onnxruntime at batch 1 on the CPU, interleaved: fp32, ours, theirs
    engine     seconds to parse and build with tensorrt_rtx, no GPU needed: ours in TensorRT's
               encoding, theirs with signed symmetric activations and float biases; the
               processor's seconds too
    ratios     ours over theirs, in the processor's seconds

`theirs` is `onnxruntime.quantization.quantize_static` of our fp32 file, after its own
pre-processing: Q/DQ format, weights per channel, unsigned activations. A network that is not asked
for keeps the figures of its last run.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort

import harness
from ort_quantizer import quantize
from resnetc.backends.onnx import OnnxOptions, write_onnx
from resnetc.backends.random_weights import random_weights
from resnetc.backends.tensorrt.library import AHEAD_OF_TIME
from resnetc.bench.machine import load_average
from resnetc.driver import Network, load
from resnetc.passes import Plan, find_encoding
from resnetc.quantization import Images, calibrate
from resnetc.sections import MinMax

NETWORKS = ("resnet18", "resnet50", "resnet152", "resnet110", "resnet1202")
PACKAGES = ("onnx", "onnxruntime", "tensorrt-rtx", "numpy")
IMAGES = 8
OURS, THEIRS = FOR_HERE = ("resnetc", "onnxruntime")
OURS_RT, THEIRS_RT = FOR_TENSORRT = ("resnetc for tensorrt", "onnxruntime for tensorrt")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", default=",".join(NETWORKS))
    parser.add_argument("--rounds", type=int, default=30)
    arguments = parser.parse_args()
    logging.disable(logging.WARNING)
    results = harness.earlier("int8")
    for name in arguments.networks.split(","):
        with tempfile.TemporaryDirectory() as folder:
            results[name] = measure(load(name), Path(folder), arguments.rounds)
        print(name, json.dumps(results[name], indent=2), flush=True)
        harness.write("int8", {n: results[n] for n in NETWORKS if n in results}, PACKAGES)


def measure(net: Network, folder: Path, rounds: int) -> dict[str, Any]:
    """All figures of one network."""
    weights = dict(random_weights(net.graph, seed=0))
    shape = net.graph.inputs[0].type.shape
    images = np.random.default_rng(0).standard_normal((IMAGES, 1, *shape), np.float32)
    wide = folder / "fp32.onnx"
    write_onnx(net.graph, wide, weights)
    load_before = load_average()
    files = {name: folder / f"{name}.onnx" for name in (*FOR_HERE, *FOR_TENSORRT)}
    made = {
        OURS: _timed(lambda: _ours(net, weights, images, files[OURS], "ort")),
        OURS_RT: _timed(lambda: _ours(net, weights, images, files[OURS_RT], "tensorrt")),
        THEIRS: _timed(lambda: quantize(wide, files[THEIRS], images, signed=False)),
        THEIRS_RT: _timed(lambda: quantize(wide, files[THEIRS_RT], images, signed=True)),
    }
    engines = {name: _engine(files[name]) for name in FOR_TENSORRT}
    return {
        "images": IMAGES,
        "load": load_before,
        "quantize_seconds": {name: seconds for name, (seconds, _) in made.items()},
        "quantize_cpu_seconds": {name: cpu for name, (_, cpu) in made.items()},
        "nodes": {name: _nodes(file) for name, file in files.items()},
        "batch_1": _speeds({"fp32": wide, **{n: files[n] for n in FOR_HERE}}, images[0], rounds),
        "engine": engines,
        "ratios": {
            "quantize": _ratio(made[OURS][1], made[THEIRS][1]),
            "quantize for tensorrt": _ratio(made[OURS_RT][1], made[THEIRS_RT][1]),
            "engine": _ratio(*(engines[name].get("cpu_seconds") for name in FOR_TENSORRT)),
        },
    }


def _timed(call: Callable[[], object]) -> tuple[float, float]:
    """Seconds, and the processor's."""
    started, before = time.perf_counter(), time.process_time()
    call()
    return round(time.perf_counter() - started, 3), round(time.process_time() - before, 3)


def _ratio(ours: float | None, theirs: float | None) -> float | None:
    """None where one of the two was refused."""
    return round(ours / theirs, 4) if ours is not None and theirs else None


# ------------------------------------------------------------------------------------ quantizing


def _ours(
    net: Network, weights: dict[str, np.ndarray], images: np.ndarray, file: Path, target: str
) -> None:
    encoding = find_encoding("int8", target)

    def batches(size: int) -> Iterator[np.ndarray]:
        return iter(images)

    shown = Images(batches, len(images), "seed 0")
    found = calibrate(net.graph, weights, encoding, shown, MinMax())
    plan = Plan("int8", encoding=encoding, ranges=found.ranges)
    write_onnx(net.graph, file, weights, options=OnnxOptions(plan=plan))


def _nodes(file: Path) -> dict[str, int]:
    kinds = Counter(node.op_type for node in onnx.load(file).graph.node)
    return {kind: kinds[kind] for kind in ("QuantizeLinear", "DequantizeLinear")}


# ----------------------------------------------------------------------------------------- speed


def _speeds(files: dict[str, Path], image: np.ndarray, rounds: int) -> dict[str, Any]:
    """Seconds per image by file, and round by round how many times faster than fp32 each is."""
    sessions = {name: _session(file) for name, file in files.items()}
    entry = sessions["fp32"].get_inputs()[0].name
    calls = {
        name: (lambda session=session: session.run(None, {entry: image}))
        for name, session in sessions.items()
    }
    times = harness.interleave(calls, rounds, warmup=3)
    return {
        "seconds": {name: harness.summary(each) for name, each in times.items()},
        "times_faster_than_fp32": {
            name: harness.ratio(times["fp32"], times[name]) for name in times if name != "fp32"
        },
        "resnetc_over_onnxruntime": harness.ratio(times["onnxruntime"], times["resnetc"]),
    }


def _session(file: Path) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = os.cpu_count() or 1
    options.log_severity_level = 3
    # Threads that wait by spinning would take the cores from the session that is measured.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return ort.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])


# ---------------------------------------------------------------------------------------- engine


def _engine(file: Path) -> dict[str, Any]:
    """Parse and build with tensorrt_rtx, for all that it builds for without a GPU."""
    import tensorrt_rtx as trt

    started, before = time.perf_counter(), time.process_time()
    logger = trt.Logger(trt.Logger.INTERNAL_ERROR)
    builder = trt.Builder(logger)
    network = builder.create_network(0)
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(file.read_bytes()):
        return {"refused": parser.get_error(0).desc()}
    config = builder.create_builder_config()
    config.num_compute_capabilities = len(AHEAD_OF_TIME)
    for index, target in enumerate(AHEAD_OF_TIME):
        capability = getattr(trt.ComputeCapability, f"SM{target.replace('.', '')}")
        config.set_compute_capability(capability, index)
    profile = builder.create_optimization_profile()
    entry = network.get_input(0)
    sample = tuple(entry.shape)[1:]
    profile.set_shape(entry.name, *((batch, *sample) for batch in (1, 8, 32)))
    config.add_optimization_profile(profile)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        return {"refused": "built no engine"}
    return {
        "seconds": round(time.perf_counter() - started, 2),
        "cpu_seconds": round(time.process_time() - before, 2),
        "layers": network.num_layers,
        "bytes": memoryview(plan).nbytes,
    }


if __name__ == "__main__":
    main()
