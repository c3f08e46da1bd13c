"""How the compiler grows with a network's depth: text to verified graph with shapes and cost.

    python benchmarks/depth.py          # writes benchmarks/results/depth.json

The paper's CIFAR network of 6n + 2 layers, at depths up to 50,000, and the whole zoo. Each
measurement is a process of its own, so that its peak memory is its own; the grammar is loaded
before the clock starts. Per layer, time and memory should not grow.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import harness
from resnetc.checking import check_file
from resnetc.driver import load
from resnetc.lang import budget
from resnetc.resources import specs

DEPTHS = (1_202, 10_004, 50_000)
"""Of the form 6n + 2; 10,004 is the first from 10,002 on."""


def compile_depth(depth: int) -> dict[str, Any]:
    load("resnet20")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    start = time.perf_counter(), time.process_time()
    with budget.times(5):
        network = load("cifar_resnet", depth=depth)
    graph = time.perf_counter() - start[0]
    macs = network.cost.macs
    whole, cpu = time.perf_counter() - start[0], time.process_time() - start[1]
    return {
        "nodes": len(network.graph),
        "macs": macs,
        "graph_seconds": graph,
        "seconds": whole,
        "cpu_seconds": cpu,
        "bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before,
    }


def check_zoo() -> dict[str, Any]:
    load("resnet20")
    start = time.perf_counter(), time.process_time()
    reports = [check_file(path) for path in sorted(specs().glob("*.rnet"))]
    return {
        "files": len(reports),
        "networks": sum(len(report.networks) for report in reports),
        "nodes": sum(len(graph) for report in reports for graph in report.networks.values()),
        "seconds": time.perf_counter() - start[0],
        "cpu_seconds": time.process_time() - start[1],
    }


def measured(rounds: int) -> dict[str, Any]:
    script = [sys.executable, str(Path(__file__).resolve()), "--part"]
    parts = {str(depth): [*script, str(depth)] for depth in DEPTHS} | {"zoo": [*script, "zoo"]}
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in parts}
    for _ in range(rounds):
        for name, command in parts.items():
            found[name].append(json.loads(subprocess.check_output(command)))
    return {name: _summary(name, runs) for name, runs in found.items()}


def _summary(name: str, runs: list[dict[str, Any]]) -> dict[str, Any]:
    result: dict[str, Any] = {
        key: harness.summary([run[key] for run in runs])
        if key.endswith("seconds")
        else runs[0][key]
        for key in runs[0]
    }
    if name != "zoo":
        layers = int(name)
        result["cpu microseconds per layer"] = 1e6 * result["cpu_seconds"]["median"] / layers
        result["bytes per layer"] = result["bytes"] / layers
    return result


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--part", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.part:
        part = check_zoo() if chosen.part == "zoo" else compile_depth(int(chosen.part))
        print(json.dumps(part))
        return
    results = {"rounds": chosen.rounds, **measured(chosen.rounds)}
    print(harness.write("depth", results, ("lark",)).read_text())


if __name__ == "__main__":
    main()
