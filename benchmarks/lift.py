"""Torchvision's classifiers there and back: traced by torch, lifted, built, compared.

    python benchmarks/lift.py                          # what is not in results/lift.json yet
    python benchmarks/lift.py --networks vgg16 --again

Every ResNet, ResNeXt, Wide ResNet, VGG, MobileNet v2 and DenseNet of torchvision, random in all of
its arrays, is traced by both of torch's exporters. Lifting compiles the source that it wrote and
holds the graph against the file's, node by node. What is recorded beside that:

    lines          of source
    torch          largest difference between torch's outputs of the lifted network and
                   onnxruntime's of the traced file, over the largest output
    onnxruntime    the same between our export of the lifted network and the traced file, both in
                   onnxruntime; 0 where every bit is the same

Writes results/lift.json after every file, and the table of docs/lift.md at the end.
"""

from __future__ import annotations

import argparse
import gc
import re
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch

import harness

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tests"))
from onnx_models import export, run, torchvision_model  # noqa: E402

from resnetc import atomic  # noqa: E402
from resnetc.backends.onnx import OnnxOptions, write_onnx  # noqa: E402
from resnetc.backends.torch import build_module  # noqa: E402
from resnetc.lift import Lifted, lift  # noqa: E402

NETWORKS = (
    *("resnet18", "resnet34", "resnet50", "resnet101", "resnet152"),
    *("resnext50_32x4d", "resnext101_32x8d", "resnext101_64x4d"),
    *("wide_resnet50_2", "wide_resnet101_2", "mobilenet_v2"),
    *("densenet121", "densenet161", "densenet169", "densenet201"),
    *("vgg11", "vgg13", "vgg16", "vgg19", "vgg11_bn", "vgg13_bn", "vgg16_bn", "vgg19_bn"),
)
EXPORTERS = {"dynamo=False": "folded", "dynamo=True": "dynamo"}
"""The argument of torch.onnx.export, and what tests/onnx_models.py calls it."""
PACKAGES = ("torch", "torchvision", "onnx", "onnxruntime", "onnxscript")
PAGE = ROOT / "docs" / "lift.md"
BEGIN, END = "<!-- benchmarks/lift.py -->\n", "<!-- end -->"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", default=",".join(NETWORKS))
    parser.add_argument("--again", action="store_true", help="also what has been recorded")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    results = harness.earlier("lift")
    for name in arguments.networks.split(","):
        for exporter, kind in EXPORTERS.items():
            found = results.setdefault(name, {})
            if exporter not in found or arguments.again:
                found[exporter] = round_trip(name, kind)
                print(name, exporter, found[exporter], flush=True)
                harness.write("lift", {n: results[n] for n in NETWORKS if n in results}, PACKAGES)
    write_page(results)


def round_trip(name: str, kind: str) -> dict[str, Any]:
    """Trace, lift, build and compare one network."""
    side = 224 if name.startswith("vgg") else 64  # VGG's pool of 7x7 traces from 224 only
    with tempfile.TemporaryDirectory() as folder:
        traced, again = Path(folder) / f"{name}.onnx", Path(folder) / "again.onnx"
        x = export(torchvision_model(name), traced, kind, side)
        gc.collect()
        lifted = lift(traced)
        write_onnx(lifted.graph, again, lifted.arrays, options=OnnxOptions())
        expected = run(traced, x)
        return {
            "nodes": len(onnx.load(traced, load_external_data=False).graph.node),
            "layers": len(lifted.graph),
            "lines": len(lifted.text.splitlines()),
            "torch": difference(outputs(lifted, x), expected),
            "onnxruntime": difference(run(again, x), expected),
        }


def outputs(lifted: Lifted, x: np.ndarray) -> np.ndarray:
    """What the lifted source makes of an input with the lifted weights, as torch builds it."""
    module = build_module(lifted.graph).eval()
    state = {name: torch.from_numpy(np.array(array)) for name, array in lifted.arrays.items()}
    module.load_state_dict(state, strict=False)
    with torch.inference_mode():
        found: np.ndarray = module(torch.from_numpy(x)).numpy()
    return found


def difference(found: np.ndarray, expected: np.ndarray) -> float:
    """The largest, over the largest output."""
    return float(np.abs(found - expected).max() / np.abs(expected).max())


# ------------------------------------------------------------------------------------------- page


def write_page(results: Mapping[str, Mapping[str, Any]]) -> None:
    """Put the table between its marks in docs/lift.md."""
    text = PAGE.read_text(encoding="utf-8")
    between = re.compile(f"{re.escape(BEGIN)}.*?{re.escape(END)}", re.DOTALL)
    atomic.write_text(PAGE, between.sub(lambda _: f"{BEGIN}{table(results)}{END}", text))


def table(results: Mapping[str, Mapping[str, Any]]) -> str:
    """A row for each network with both exporters: lines of source, and largest differences."""
    rows = [
        "| | lines | torch, `dynamo=False` | `dynamo=True` | onnxruntime, `dynamo=False` "
        "| `dynamo=True` |",
        "|---|---|---|---|---|---|",
    ]
    for name in NETWORKS:
        found = [results.get(name, {}).get(exporter) for exporter in EXPORTERS]
        if all(found):
            lines = " / ".join(dict.fromkeys(str(each["lines"]) for each in found))
            figures = [
                f"{each[by]:.1e}" if each[by] else "0"
                for by in ("torch", "onnxruntime")
                for each in found
            ]
            rows.append(f"| {name} | {lines} | {' | '.join(figures)} |")
    return "\n".join(rows) + "\n"


if __name__ == "__main__":
    main()
