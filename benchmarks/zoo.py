"""Every network of the zoo beside its reference: largest difference, parameters, MACs, lines.

    python benchmarks/zoo.py                     # what has changed since it was last measured
    python benchmarks/zoo.py --networks vgg16    # these, changed or not

Writes results/zoo.json and the table of docs/zoo.md. Networks are compared as tests/zoo/parity.py
says; the largest needs 8 GB of memory.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import harness
import resnetc
from resnetc import atomic

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "zoo.md"
PACKAGES = ("torch", "torchvision", "timm")
BEGIN, END = "<!-- table -->\n", "<!-- end of table -->\n"
HEAD = """\
| network | reference | parameters | GMACs | file | lines | largest difference |
|---|---|---:|---:|---|---:|---:|
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", default="")
    asked = [name for name in parser.parse_args().networks.split(",") if name]

    sys.path.insert(0, str(ROOT / "tests"))
    from zoo.parity import differences, load

    from zoo import references

    known, table = references(), harness.earlier("zoo")
    results: dict[str, Any] = {}
    for name, reference in known.items():
        network = load(name, reference)
        facts = _facts(name, reference.shown, network)
        earlier = table.get(name, {})
        if name in asked or earlier.get("graph") != facts["graph"]:
            found = differences(network, reference)
            facts["differences"] = {what: float(f"{value:.2g}") for what, value in found.items()}
            print(f"{name:<32} {max(found.values()):.1e}", flush=True)
        else:
            facts["differences"] = earlier["differences"]
        results[name] = facts
        load.cache_clear()
        harness.write("zoo", {**table, **results}, PACKAGES)
    harness.write("zoo", results, PACKAGES)
    page = PAGE.read_text(encoding="utf-8")
    before, rest = page.split(BEGIN)
    atomic.write_text(PAGE, before + BEGIN + _table(results) + END + rest.split(END)[1])


def _facts(name: str, shown: str, network: resnetc.Network) -> dict[str, Any]:
    settings = ", ".join(f"{key} = {value}" for key, value in network.settings.items())
    return {
        "network": f"{network.name} with {settings}" if settings else network.name,
        "reference": shown,
        "params": network.cost.params,
        "macs": network.cost.macs,
        "file": network.path.name,
        "lines": lines(network.path),
        "graph": network.graph.hash,
    }


def lines(path: Path) -> int:
    """Lines that are neither empty nor a comment."""
    stripped = (line.strip() for line in path.read_text(encoding="utf-8").splitlines())
    return sum(bool(line) and not line.startswith("#") for line in stripped)


def shown(difference: float) -> str:
    """A difference as the table has it."""
    return f"{difference:.0e}" if difference else "0"


def _table(results: dict[str, Any]) -> str:
    rows = sorted(results.values(), key=lambda facts: facts["file"])
    return HEAD + "".join(
        f"| {facts['network']} | {facts['reference']} | {facts['params']:,} "
        f"| {facts['macs'] / 1e9:.3f} | [{facts['file']}](../specs/{facts['file']}) "
        f"| {facts['lines']} | {shown(max(facts['differences'].values()))} |\n"
        for facts in rows
    )


if __name__ == "__main__":
    main()
