"""Predicted against measured memory of a training step, with and without recomputing.

    python benchmarks/memory.py          # writes benchmarks/results/memory.json

Every case is a process of its own on the CPU: a few steps of the live module with Caffe's SGD,
channels last, as the trainer takes them. Three peaks are measured:

- `tensors_bytes`: what tensors take, by the account that torch's own allocator keeps.
- `process_bytes`: how far the process grows beyond what it held after a step of a tiny network, by
  the kernel's account of its own pages. The C library may keep what is freed, in pieces that do
  not fit again, so the whole is measured with its thresholds as they are (`malloc = default`) and
  with every tensor's pages given back when it dies (`malloc = returning`).

`predicted_bytes` comes from the graph alone.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import harness

CASES = [
    ("resnet50", 8, 1.0),
    ("resnet1202", 32, 0.2),
    ("resnet50", 8, 0.7),
    ("resnet1202", 32, 1.0),
    ("resnet50", 16, 1.0),
    ("resnet50", 16, 0.5),
    ("resnet1202", 32, 0.5),
]
"""Network, batch, and the limit as a part of what the step takes without one."""

_RETURNING = {"MALLOC_MMAP_THRESHOLD_": str(2**18), "MALLOC_TRIM_THRESHOLD_": str(2**18)}
_STEPS = 2
_EVERY = 0.002
"""Seconds between two looks at the process's own pages."""


def _anonymous() -> int:
    """Bytes of the process's own pages; files that are mapped, such as libraries, are not."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("RssAnon:")[2].split()[0]) * 1024


@contextlib.contextmanager
def _watched() -> Iterator[list[int]]:
    """The most bytes of own pages seen during a block, as the last of a list."""
    most, done = [_anonymous()], threading.Event()

    def watch() -> None:
        while not done.wait(_EVERY):
            most[0] = max(most[0], _anonymous())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield most
    finally:
        done.set()
        watcher.join()


def _stepper(name: str, batch: int, part: float) -> tuple[Any, dict[str, Any]]:
    """A training step and what is predicted of it."""
    import torch
    import torch.nn.functional as F

    from resnetc.analysis.footprint import Setting
    from resnetc.backends.torch import build_module
    from resnetc.backends.torch.memory import StepMemory
    from resnetc.backends.torch.recompute import recompute
    from resnetc.driver import load
    from resnetc.train.evaluation import Mode
    from resnetc.train.optimizer import CaffeSGD

    graph = load(name).graph
    memory = StepMemory(graph, Setting(batch))
    limit = max(round(part * memory.peak), memory.schedule.least())
    choice = memory.choose(limit)
    assert choice is not None
    mode = Mode(torch.device("cpu"), channels_last=True)
    module = mode.placed(build_module(graph, seed=0))
    recompute(module, memory.stretches(choice))
    optimizer = CaffeSGD(module.parameters(), lr=1e-3, momentum=0.9, weight_decay=1e-4)
    images = mode.laid_out(torch.randn(batch, *graph.inputs[0].type.shape))
    labels = torch.arange(batch) % 10

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        F.cross_entropy(module(images), labels).backward()
        optimizer.step()

    facts = {
        "unlimited_bytes": memory.peak,
        "limit_bytes": limit if part < 1 else None,
        "predicted_bytes": choice.peak,
        "recomputed": choice.named(),
        "recomputed_share": round(choice.share, 4),
    }
    step.module = module  # type: ignore[attr-defined]
    step.standing = [*module.parameters(), *module.buffers(), images, labels]  # type: ignore[attr-defined]
    return step, facts


def _tensors(step: Any) -> int:
    """The peak of a step by the account of torch's allocator, what stands before included."""
    import torch
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        step()
    with tempfile.TemporaryDirectory() as folder:
        trace = Path(folder) / "trace.json"
        profiler.export_chrome_trace(str(trace))
        events = json.loads(trace.read_text())["traceEvents"]
    passing = max(e["args"]["Total Allocated"] for e in events if e.get("name") == "[memory]")
    standing: list[torch.Tensor] = step.standing
    velocities = sum(p.nbytes for p in step.module.parameters())
    return int(passing) + sum(tensor.nbytes for tensor in standing) + velocities


def measure(name: str, batch: int, part: float, what: str) -> dict[str, Any]:
    """One case in this process: `what` is measured, "tensors" or "process"."""
    import torch

    torch.set_num_threads(1)
    warm, _ = _stepper("resnet20", 2, 0.5)
    for _ in range(2):
        warm()
    del warm
    before = _anonymous()
    if what == "tensors":
        step, facts = _stepper(name, batch, part)
        step()
        for parameter in step.module.parameters():
            parameter.grad = None
        return {**facts, "tensors_bytes": _tensors(step)}
    with _watched() as most:
        step, facts = _stepper(name, batch, part)
        for _ in range(_STEPS):
            step()
    return {**facts, "process_bytes": most[0] - before}


def _child(case: tuple[str, int, float], what: str, malloc: dict[str, str]) -> dict[str, Any]:
    command = [sys.executable, __file__, "--case", *map(str, case), what]
    done = subprocess.run(
        command, env={**os.environ, **malloc}, check=True, capture_output=True, text=True
    )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def run(cases: list[tuple[str, int, float]]) -> list[dict[str, Any]]:
    rows = []
    for case in cases:
        row = {"network": case[0], "batch": case[1], **_child(case, "tensors", {})}
        row["process_bytes"] = {
            "default": _child(case, "process", {})["process_bytes"],
            "returning": _child(case, "process", _RETURNING)["process_bytes"],
        }
        predicted = row["predicted_bytes"]
        row["predicted_over_measured"] = {
            "tensors": round(predicted / row["tensors_bytes"], 4),
            **{f"process, {k}": round(predicted / v, 4) for k, v in row["process_bytes"].items()},
        }
        print(json.dumps(row), flush=True)
        rows.append(row)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--case", nargs=4, metavar=("NETWORK", "BATCH", "PART", "WHAT"))
    parser.add_argument("--quick", action="store_true", help="A small case, and nothing written.")
    arguments = parser.parse_args()
    if arguments.case:
        name, batch, part, what = arguments.case
        print(json.dumps(measure(name, int(batch), float(part), what)))
    elif arguments.quick:
        run([("resnet20", 64, 0.5)])
    else:
        rows = run(CASES)
        print(harness.write("memory", {"threads": 1, "cases": rows}, packages=["torch"]))


if __name__ == "__main__":
    main()
