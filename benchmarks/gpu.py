"""What needs an NVIDIA GPU: training steps, CUDA graphs, compiled code, engines built elsewhere.

    python benchmarks/gpu.py --build engines     # anywhere: engines and what they should answer
    python benchmarks/gpu.py --engines engines   # on a GPU; writes benchmarks/results/gpu.json
    python benchmarks/gpu.py --dry-run           # anywhere: the same work, small, on the CPU

The dry run goes through every part as far as a CPU takes it, builds an engine, and prints what it
could not do; it measures nothing and writes no result. On a GPU all times are between events of
the device, after a warm-up, and contestants take turns within every round.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import harness
import train as training
from contestants import Setting, Work
from contestants import captured as as_graph
from resnetc.backends.parity import check_parity
from resnetc.backends.random_weights import random_weights
from resnetc.backends.tensorrt import TensorRtOptions, build_engine
from resnetc.backends.tensorrt.library import find_library, gpu_present, make_logger
from resnetc.backends.tensorrt.report import engine_rows, spec_places, timed
from resnetc.backends.torch import build_module
from resnetc.backends.weights import Arrays
from resnetc.bench import Request, run_bench
from resnetc.driver import load
from resnetc.ir import Graph
from resnetc.passes import Plan, find_encoding, lower_for_inference
from resnetc.quantization import Images, calibrate
from resnetc.sections import MinMax

PRECISIONS = ("fp32", "fp16", "bf16")
ENGINES = (*PRECISIONS, "int8", "fp8")
"""Precisions of the engines that --build makes."""
_BUILDER = "tensorrt_rtx"
NOT_HERE = "not measured: no NVIDIA GPU here"
PACKAGES = ("torch", "torchvision", "timm", "onnxruntime-gpu", "tensorrt", "tensorrt-rtx")


@dataclass(frozen=True)
class Scale:
    """How large the work is, and on which device."""

    device: str
    network: str
    trained: tuple[str, ...]
    side: int
    batch: int
    rounds: int
    repeats: int
    """Calls between two events."""

    @property
    def dry(self) -> bool:
        return self.device == "cpu"


FULL = Scale("cuda", "resnet50", ("resnet50", "resnet152", "resnet110"), 224, 128, 15, 10)
DRY = Scale("cpu", "resnet20", ("resnet20",), 32, 2, 1, 1)


# ---------------------------------------------------------------------------------------- timing


def measure(contestants: Mapping[str, Work], scale: Scale) -> dict[str, Any]:
    """Seconds per call of each, in turns; on the CPU one call, to see that it works."""
    if scale.dry:
        for work in contestants.values():
            work()
        return dict.fromkeys(contestants, NOT_HERE)
    times: dict[str, list[float]] = defaultdict(list)
    for work in contestants.values():
        for _ in range(3 * scale.repeats):
            work()
    order = list(contestants)
    for number in range(scale.rounds):
        first = number % len(order)
        for name in [*order[first:], *order[:first]]:
            times[name].append(_between_events(contestants[name], scale.repeats))
    return {name: harness.summary(each) for name, each in times.items()}


def _between_events(work: Work, repeats: int) -> float:
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    begin.record()
    for _ in range(repeats):
        work()
    end.record()
    end.synchronize()
    return float(begin.elapsed_time(end)) / 1e3 / repeats


def captured(work: Work, scale: Scale) -> Work:
    """The same work as one CUDA graph; on the CPU as it is."""
    return work if scale.dry else as_graph(work)


# ----------------------------------------------------------------------------------------- parts


def train(scale: Scale, folder: Path) -> dict[str, Any]:
    """`train.py` on the GPU, channels last: a training step of ours and of others."""
    found: dict[str, Any] = {}
    for precision in ("fp32", "tf32", "bf16"):
        torch.backends.cuda.matmul.allow_tf32 = precision != "fp32"
        torch.backends.cudnn.allow_tf32 = precision != "fp32"
        cast = "bf16" if precision == "bf16" else "fp32"
        for network in scale.trained:
            batch = 0 if scale.dry else training.BATCHES["cuda"].get(network, 128)
            setting = Setting(network, batch or scale.batch, scale.device, cast, True)
            found[f"{network}, {precision}"] = _trained(setting, scale)
    return found


def _trained(setting: Setting, scale: Scale) -> Any:
    """Each contestant, compiled ones too; on the CPU a step of each, uncompiled."""
    if not scale.dry:
        return training.measure(setting, scale.rounds, scale.repeats, compiled=True)
    for make in training.contestants(setting, compiled=False).values():
        make()()
    return NOT_HERE


def infer(scale: Scale, folder: Path) -> dict[str, Any]:
    """`resnetc bench` on the GPU, and eager torch as a CUDA graph, which it does not measure."""
    graphs = {}
    for batch in (1, scale.batch):
        for kind in (torch.float16, torch.bfloat16):
            module = build_module(load(scale.network).graph, seed=0).eval().to(scale.device, kind)
            image = torch.randn(batch, 3, scale.side, scale.side, device=scale.device, dtype=kind)
            work = torch.inference_mode()(lambda module=module, image=image: module(image))
            graphs[f"batch {batch}, {kind}"] = captured(work, scale)
    measured = {"eager as a CUDA graph": measure(graphs, scale)}
    if scale.dry:
        request = Request(
            scale.network, backends=("eager", "onnxruntime"), batches=(scale.batch,),
            warm_up=0.0, seconds=0.1, rounds=1, threads=1, device="cpu",
        )  # fmt: skip
    else:
        request = Request(
            scale.network, batches=(1, scale.batch), precisions=PRECISIONS, device="cuda",
            backends=("eager", "compile", "onnxruntime", "tensorrt"),
        )  # fmt: skip
    report = run_bench(request, say=lambda line: print(line, file=sys.stderr))
    if (problem := report.problem()) is not None:
        raise problem
    return {**measured, "bench": NOT_HERE if scale.dry else report.to_json()}


def engines(scale: Scale, folder: Path) -> dict[str, Any]:
    """Engines that were built elsewhere: whether they open, answer right, and how fast they are."""
    sidecars = sorted(folder.glob("*.engine.json"))
    if not sidecars:
        raise SystemExit(f"{folder}: there is no engine; make some with --build {folder}")
    found = {}
    for sidecar in sidecars:
        facts = json.loads(sidecar.read_text())
        engine = sidecar.with_name(sidecar.name.removesuffix(".json"))
        if scale.dry:
            found[engine.name] = {"library": facts["library"], "figures": NOT_HERE}
            continue
        found[engine.name] = _run_engine(engine, facts, scale)
    return found


# --------------------------------------------------------------------------------------- engines


def build(network: str, folder: Path) -> None:
    """Write engines in every precision, and for each an input with what it should answer."""
    net = load(network)
    weights = random_weights(net.graph)
    for precision in ENGINES:
        path = folder / f"{network}.{precision}.engine"
        report = build_engine(
            net.graph,
            path,
            weights,
            options=TensorRtOptions(plan=_plan(net.graph, weights, precision), library=_BUILDER),
            provenance={"reference": net.reference},
        )
        print(f"{path}  {report.bytes / 1e6:.1f} MB, {report.seconds:.1f} s, {report.found}")
    worst = max(each.max_rel for each in check_parity(net.graph, weights, batch=1))
    print(f"torch and onnxruntime agree with float64 to {worst:.0e}")
    module = build_module(net.graph, seed=0).double().eval()
    state = {path: torch.from_numpy(np.array(weights[path])) for path in weights}
    module.load_state_dict(state, strict=False)
    image = torch.randn(
        8, *net.graph.inputs[0].type.shape, generator=torch.Generator().manual_seed(0)
    )
    with torch.inference_mode():
        answer = module(image.double())
    np.savez(folder / f"{network}.npz", image=image.numpy(), answer=answer.numpy())


def _plan(graph: Graph, weights: Arrays, precision: str) -> Plan:
    """A precision; in eight bits with the ranges that noise has, which tell how fast it is."""
    if precision in PRECISIONS:
        return Plan(precision)
    encoding = find_encoding(precision, "tensorrt")
    noise = np.random.default_rng(0).standard_normal((8, *graph.inputs[0].type.shape), np.float32)
    images = Images(lambda batch: iter([noise]), len(noise), "noise")
    found = calibrate(graph, weights, encoding, images, MinMax())
    return Plan(precision, encoding=encoding, kept="fp16", ranges=found.ranges)


def _run_engine(path: Path, facts: dict[str, Any], scale: Scale) -> dict[str, Any]:
    library = find_library(facts["library"]["name"])
    trt = library.module
    logger = make_logger(trt)
    runtime = trt.Runtime(logger)
    data = path.read_bytes()
    if library.ahead_of_time:
        print(f"{path.name}: validity here {runtime.get_engine_validity(data)}", file=sys.stderr)
    engine = runtime.deserialize_cuda_engine(data)
    if engine is None:
        return {"library": facts["library"], "failed": logger.errors}
    example = np.load(path.with_name(f"{facts['network']}.npz"))
    context, tensors = _context(trt, engine, torch.from_numpy(example["image"]).cuda())

    def work() -> None:
        if not context.execute_async_v3(torch.cuda.current_stream().cuda_stream):
            raise RuntimeError(f"{path.name} did not run: {logger.errors}")

    work()
    torch.cuda.synchronize()
    answer = tensors["logits"].double().cpu().numpy()
    error = float(np.abs(answer - example["answer"]).max() / np.abs(example["answer"]).max())
    figures = measure({"engine": work, "engine, CUDA graph": captured(work, scale)}, scale)
    return {
        "library": facts["library"],
        "precision": facts["precision"],
        "batch": len(example["image"]),
        "error over the largest output, beside float64": error,
        "seconds": figures,
        "layers": _layers(trt, engine, context, work, facts),
    }


def _context(trt: Any, engine: Any, image: Tensor) -> tuple[Any, dict[str, Tensor]]:
    """An execution context whose tensors torch holds; outputs are fp32, as exported."""
    context = engine.create_execution_context()
    tensors: dict[str, Tensor] = {}
    names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
    for name in names:
        if engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT:
            context.set_input_shape(name, tuple(image.shape))
            tensors[name] = image
    for name in names:
        if name not in tensors:
            shape = tuple(context.get_tensor_shape(name))
            tensors[name] = torch.empty(shape, dtype=torch.float32, device="cuda")
        context.set_tensor_address(name, tensors[name].data_ptr())
    return context, tensors


def _layers(
    trt: Any, engine: Any, context: Any, work: Work, facts: dict[str, Any]
) -> list[dict[str, Any]]:
    """Every layer of the engine: its lines in the spec, what it computes in, how long it takes."""
    heard: dict[str, list[float]] = defaultdict(list)

    class Profiler(trt.IProfiler):  # type: ignore[misc]  # the base class is found at run time
        def __init__(self) -> None:
            trt.IProfiler.__init__(self)

        def report_layer_time(self, layer_name: str, ms: float) -> None:
            heard[layer_name].append(ms)

    context.profiler = profiler = Profiler()
    for _ in range(20):
        work()
        torch.cuda.synchronize()
    lowered = lower_for_inference(load(facts["reference"]).graph).graph
    inspector = engine.create_engine_inspector()
    told = inspector.get_engine_information(trt.LayerInformationFormat.JSON)
    rows = timed(engine_rows(told, spec_places(lowered)), heard)
    del profiler
    return [row.to_json() for row in rows]


# ------------------------------------------------------------------------------------------ main


PARTS: dict[str, Callable[[Scale, Path], dict[str, Any]]] = {
    "train": train,
    "infer": infer,
    "engines": engines,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--build", type=Path, metavar="DIR", help="Build engines there, and end.")
    parser.add_argument("--engines", type=Path, metavar="DIR", help="Engines that --build made.")
    parser.add_argument("--network", default=FULL.network, help="Which --build builds.")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--dry-run", action="store_true", help="All of it, small, on the CPU.")
    args = parser.parse_args()
    if args.build is not None:
        args.build.mkdir(parents=True, exist_ok=True)
        build(args.network, args.build)
        return
    if args.dry_run:
        print(json.dumps(dry_run(args.parts), indent=2))
        return
    if not gpu_present() or not torch.cuda.is_available():
        raise SystemExit("there is no NVIDIA GPU here, or torch has no CUDA; see --dry-run")
    if "engines" in args.parts and args.engines is None:
        raise SystemExit("--engines DIR is needed, or other --parts")
    results = {part: PARTS[part](FULL, args.engines) for part in args.parts}
    results["gpu"] = torch.cuda.get_device_name()
    print(f"wrote {harness.write('gpu', results, PACKAGES)}")


def dry_run(parts: list[str]) -> dict[str, Any]:
    """Every part on the CPU, with engines built for it; no figure comes out."""
    with tempfile.TemporaryDirectory() as folder:
        if "engines" in parts:
            build(DRY.network, Path(folder))
        return {part: PARTS[part](DRY, Path(folder)) for part in parts}


if __name__ == "__main__":
    main()
