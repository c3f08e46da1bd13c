"""How long the compiler takes: text to a verified graph with shapes and cost, and a cold start.

    python benchmarks/compile.py        # writes benchmarks/results/compile.json

In process, each round reads, parses, checks, elaborates, lowers and verifies a spec anew and counts
its cost; the grammar is loaded before. The cold start is a whole process: `resnetc check
specs/resnet152.rnet`, beside an interpreter that only imports torch, and one that does nothing.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import harness
from resnetc.driver import load

NETWORKS = ("resnet152", "resnet1202")
CHECK, TORCH = "resnetc check specs/resnet152.rnet", "import torch"
SPEC = Path(__file__).parents[1] / "specs" / "resnet152.rnet"


def in_process(rounds: int) -> dict[str, Any]:
    times = harness.interleave(
        {name: lambda name=name: load(name).cost for name in NETWORKS}, rounds, warmup=2
    )
    return {
        name: {"nodes": len(load(name).graph), "seconds": harness.summary(times[name])}
        for name in NETWORKS
    }


def cold_start(rounds: int) -> dict[str, Any]:
    command = str(Path(sys.executable).with_name("resnetc"))
    runs = harness.interleave_processes(
        {
            CHECK: [command, "check", str(SPEC)],
            TORCH: [sys.executable, "-c", "import torch"],
            "python": [sys.executable, "-c", "pass"],
        },
        rounds,
        warmup=2,
    )
    wall = {name: [run.seconds for run in each] for name, each in runs.items()}
    cpu = {name: [run.cpu_seconds for run in each] for name, each in runs.items()}
    return {
        **{
            name: {"seconds": harness.summary(wall[name]), "cpu": harness.summary(cpu[name])}
            for name in runs
        },
        "check over import torch": harness.ratio(wall[CHECK], wall[TORCH]),
        "the same in processor time": harness.ratio(cpu[CHECK], cpu[TORCH]),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    results = {"text to graph": in_process(rounds), "cold start": cold_start(rounds)}
    packages = ("lark", "networkx", "click", "torch")
    print(harness.write("compile", {"rounds": rounds, **results}, packages).read_text())


if __name__ == "__main__":
    main()
