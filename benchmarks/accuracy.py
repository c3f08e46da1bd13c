"""What precisions cost in accuracy, on networks trained on real images.

    python benchmarks/accuracy.py                                # trains, then judges
    python benchmarks/accuracy.py --weights resnet20=RUN         # judges what a run has trained
    python benchmarks/accuracy.py --networks digits_resnet14

`resnet20` learns Fashion-MNIST (Debian's dataset-fashion-mnist), `digits_resnet14` scikit-learn's
digits. Every contestant is judged by all test images of the set, from the files that
`resnetc export` would write:

    torch             fp32, and the bf16 graph as a module
    onnxruntime       our fp32, fp16 and int8 files; and int8 as made by its own static quantizer
                      from our fp32 file and the same calibration images (its default: min-max)
    openvino          our bf16 file: onnxruntime's CPU provider has no bf16 convolution

`lost` is in points of top-1 against torch in fp32, `agrees` the share of images with its answer.
`int8_within_half_a_point` says whether every int8 file of ours loses at most half a point. A
network that is not asked for keeps the figures of its last run.
"""

from __future__ import annotations

import argparse
import json
import logging
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import torch

import harness
from ort_quantizer import quantize
from resnetc.backends.onnx import OnnxOptions, write_onnx
from resnetc.backends.openvino import compile_model, read_model
from resnetc.backends.torch import build_module
from resnetc.backends.torch.lowered import lowered_module
from resnetc.backends.weights import Arrays, fit_weights, read_weights
from resnetc.driver import Network, load
from resnetc.passes import Plan, find_encoding, lower_for_inference
from resnetc.quantization import Images, Labelled, calibrate
from resnetc.sections import Entropy, MinMax, Percentile
from resnetc.train import TrainOptions, train
from resnetc.train.samples import calibration_images, judging_images

Answer = Callable[[np.ndarray], np.ndarray]
"""From images, float32 [N, C, H, W], to logits [N, classes]."""

TRAININGS = {
    "digits_resnet14": TrainOptions(threads=1, log_every=100),
    "resnet20": TrainOptions(
        data="fashion_mnist",
        iterations=1400,
        precision="bf16",
        channels_last=True,
        threads=1,
        overrides=("norm_images=none",),
    ),
}
"""How each network is trained where no weights are given."""
METHODS = (Entropy(), Percentile(), MinMax())
PACKAGES = ("torch", "onnx", "onnxruntime", "openvino", "numpy")
BATCH = 100
ALLOWED = 0.5
"""Points of top-1 that int8 may cost."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", default=",".join(TRAININGS))
    parser.add_argument("--weights", action="append", default=[], metavar="NETWORK=RUN")
    arguments = parser.parse_args()
    given = dict(text.partition("=")[::2] for text in arguments.weights)
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    results = harness.earlier("accuracy")
    for name in arguments.networks.split(","):
        with tempfile.TemporaryDirectory() as folder:
            run = Path(given[name]) if name in given else trained(name, Path(folder) / "run")
            results[name] = {"training": training_of(run), **judge(load(name), run, Path(folder))}
        print(name, json.dumps(results[name], indent=2), flush=True)
        harness.write("accuracy", {n: results[n] for n in TRAININGS if n in results}, PACKAGES)


def trained(name: str, out: Path) -> Path:
    """The run of a network that is trained now."""
    options = TRAININGS[name]
    train(load(name), TrainOptions(**{**vars(options), "out": out}))
    return out


def training_of(run: Path) -> dict[str, Any]:
    """What a run's own files say of it."""
    lock = json.loads((run / "lock.json").read_text())
    summary = json.loads((run / "report" / "summary.json").read_text())
    recipe = lock["recipe"]
    return {
        "data": lock["data_set"]["name"],
        "iterations": lock["iterations"],
        "batch": recipe["batch"],
        "precision": recipe["precision"],
        "seed": lock["seed"],
        "top1_of_the_run": summary["test"]["top1"],
    }


# ----------------------------------------------------------------------------------------- judging


def judge(net: Network, run: Path, folder: Path) -> dict[str, Any]:
    """Top-1 accuracy of all contestants over the whole test set of a run's data."""
    weights = fit_weights(net.graph, read_weights(run))
    images = judging_images(net, run, None)
    calibration = calibration_images(net, run, None, 512)
    started = time.perf_counter()
    contestants = make_contestants(net, weights, calibration, folder)
    found = accuracies(contestants, images)
    ours = [name for name in found if name.startswith("onnxruntime int8")]
    return {
        "judged_by": images.said,
        "real_images": images.real,
        "calibration_images": calibration.count,
        "seconds": round(time.perf_counter() - started, 1),
        "accuracy": found,
        "int8_within_half_a_point": all(found[name]["lost"] <= ALLOWED for name in ours),
    }


def accuracies(contestants: Mapping[str, Answer], images: Labelled) -> dict[str, dict[str, Any]]:
    """By contestant, the first of whom the others are held against. All see the same batches."""
    answers: dict[str, list[np.ndarray]] = {name: [] for name in contestants}
    right = []
    for batch, labels in images.batches(BATCH):
        right.append(labels)
        for name, answer in contestants.items():
            answers[name].append(answer(batch).argmax(1))
    said = {name: np.concatenate(each) for name, each in answers.items()}
    truth = np.concatenate(right)
    first = next(iter(said.values()))
    correct = {name: int((each == truth).sum()) for name, each in said.items()}
    most = next(iter(correct.values()))
    return {
        name: {
            "top1": count / len(truth),
            "correct": count,
            "lost": round(100 * (most - count) / len(truth), 4),
            "agrees": float((said[name] == first).mean()),
        }
        for name, count in correct.items()
    }


# ------------------------------------------------------------------------------------- contestants


def make_contestants(
    net: Network, weights: Arrays, calibration: Images, folder: Path
) -> dict[str, Answer]:
    """Everyone who answers, by name; files are written to `folder`."""

    def export(name: str, plan: Plan) -> Path:
        write_onnx(net.graph, folder / f"{name}.onnx", weights, options=OnnxOptions(plan=plan))
        return folder / f"{name}.onnx"

    wide = export("fp32", Plan())
    found: dict[str, Answer] = {
        "torch fp32": torch_answers(_plain_module(net, weights)),
        "torch bf16": torch_answers(_narrow_module(net, weights)),
        "openvino bf16": openvino_answers(export("bf16", Plan("bf16")), "bf16"),
        "onnxruntime fp32": onnxruntime_answers(wide),
        "onnxruntime fp16": onnxruntime_answers(export("fp16", Plan("fp16"))),
    }
    encoding = find_encoding("int8", "ort")
    for method in METHODS:
        seen = calibrate(net.graph, weights, encoding, calibration, method)
        plan = Plan("int8", encoding=encoding, ranges=seen.ranges)
        file = export(f"int8-{method.word}", plan)
        found[f"onnxruntime int8, {method.word}"] = onnxruntime_answers(file)
    theirs = folder / "theirs.onnx"
    quantize(wide, theirs, calibration.batches(32), signed=False)
    found["onnxruntime's quantizer, int8"] = onnxruntime_answers(theirs)
    return found


def _plain_module(net: Network, weights: Arrays) -> torch.nn.Module:
    """As trained: batch norms are not folded."""
    module = build_module(net.graph, seed=0).eval()
    module.load_state_dict({path: torch.from_numpy(np.array(weights[path])) for path in weights})
    return module


def _narrow_module(net: Network, weights: Arrays) -> torch.nn.Module:
    return lowered_module(lower_for_inference(net.graph, plan=Plan("bf16")).graph, weights)


def torch_answers(module: torch.nn.Module) -> Answer:
    def answer(images: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            logits: np.ndarray = module(torch.from_numpy(images)).float().numpy()
        return logits

    return answer


def onnxruntime_answers(file: Path) -> Answer:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = ort.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    entry = session.get_inputs()[0].name
    return lambda images: session.run(None, {entry: images})[0]


def openvino_answers(file: Path, precision: str) -> Answer:
    compiled = compile_model(read_model(file, file.name), precision, threads=1)
    return lambda images: np.array(compiled([images])[compiled.outputs[0]])


if __name__ == "__main__":
    main()
