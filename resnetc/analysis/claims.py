"""What a spec can claim to be: the paper's networks by name, with the figures printed of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import cache
from typing import Any, Literal

from resnetc import resources
from resnetc.analysis.blueprint import Blueprint, Stage
from resnetc.diagnostics import UsageError, suggest


@dataclass(frozen=True)
class Printed:
    """A figure the paper prints of a network: `number` times `unit` MACs or parameters."""

    where: str
    counts: Literal["macs", "params"]
    number: float
    unit: int

    def agrees(self, count: int) -> bool:
        """Whether a count prints like this.

        The paper rounds most figures and cuts some off: ResNet-50's 3.858e9 stand there as 3.8e9.
        """
        printed = Decimal(str(self.number))
        last_digit = Decimal(1).scaleb(int(printed.as_tuple().exponent))
        beyond = Decimal(count) / self.unit - printed
        return abs(beyond) <= last_digit / 2 or 0 <= beyond < last_digit

    def __str__(self) -> str:
        return f"{self.number} x 1e{len(str(self.unit)) - 1}"


@dataclass(frozen=True)
class Claim:
    """One network of the paper, by the name that a spec's `meta { paper = "..." }` gives it.

    `options` are the shortcut options that satisfy the claim; the blueprint has the first. The
    recounts are by option: MACs as text in the tables' precision, parameters exact.
    """

    name: str
    title: str
    blueprint: Blueprint
    options: tuple[str, ...]
    printed: tuple[Printed, ...]
    recounts: Recounts


@dataclass(frozen=True)
class Recounts:
    """Counts made anew from the architecture, by option; `write_macs` writes in their precision."""

    macs: Mapping[str, str]
    params: Mapping[str, int]
    write_macs: Callable[[int], str]


def find_claim(name: str) -> Claim:
    """The claim of that name. Raises UsageError for a network the paper does not have."""
    known = claims()
    if name not in known:
        near = suggest(name, known)
        hint = f"did you mean {near}?" if near else f"known are {', '.join(known)}"
        raise UsageError(f"the paper has no network {name}; {hint}")
    return known[name]


@cache
def claims() -> Mapping[str, Claim]:
    """Every network of the paper that a spec can claim to be."""
    tables = paper_tables()
    return {claim.name: claim for claim in (*_imagenet(tables), *_cifar(tables))}


@cache
def paper_tables() -> Mapping[str, Any]:
    """The paper's tables as they ship in `specs/paper/he2015.json`."""
    tables: dict[str, Any] = json.loads(resources.paper_tables().read_text(encoding="utf-8"))
    return tables


def _imagenet(tables: Mapping[str, Any]) -> Iterator[Claim]:
    table = tables["table1"]
    for depth, rows in table["nets"].items():
        plan = _imagenet_blueprint(table["common"], rows)
        recounts = _imagenet_recounts(table, depth)
        flops = table["flops_multiply_adds_1e9_paper"][depth]
        printed = (Printed("Table 1", "macs", flops, 10**9),)
        # Table 1 leaves the shortcuts of the shallow nets open: A in Table 2, A and B in Table 3.
        options = ("A", "B") if plan.block_length == 2 else ("B",)
        title = f"Table 1, {depth} layers"
        yield _claim(f"table1/{depth}", title, plan, options, printed, recounts)
        if plan.block_length == 2:
            said = table["other_flops_in_text"].get(f"plain-{depth}")
            text = (Printed("section 3.3", "macs", said, 10**9),) if said else ()
            title = f"Figure 3 and Table 2, plain, {depth} layers"
            yield _claim(f"plain/{depth}", title, plan, ("none",), text, recounts)
        for option in "ABC":
            if f"ResNet-{depth} {option}" in tables["table3"]["rows"]:
                name, title = f"table3/{depth}-{option}", f"Table 3, ResNet-{depth} {option}"
                yield _claim(name, title, plan, (option,), (), recounts)


def _imagenet_blueprint(common: Mapping[str, Any], rows: Mapping[str, Any]) -> Blueprint:
    conv1, pool = common["conv1"], common["conv2_x"]["maxpool"]
    stages = tuple(
        Stage(name, tuple((kernel, out) for kernel, out in row["layers"]), row["repeat"])
        for name, row in rows.items()
    )
    stem = (conv1["kernel"], conv1["out"], conv1["stride"])
    return Blueprint((3, 224, 224), stem, (pool["kernel"], pool["stride"]), stages, 1000, "B")


def _imagenet_recounts(table: Mapping[str, Any], depth: str) -> Recounts:
    # A bottleneck's key says where its stride is; the paper's own is on the first 1x1.
    gmacs = {
        key[0]: number
        for key, number in table["recount_gmacs"][depth].items()
        if not key.endswith("3x3")
    }
    macs = {option: _giga(round(number * 1e9)) for option, number in gmacs.items()}
    return Recounts(macs, table["recount_params"][depth], _giga)


def _cifar(tables: Mapping[str, Any]) -> Iterator[Claim]:
    table = tables["table6"]
    printed = {
        str(row["layers"]): row["params_M"] for row in table["rows"] if row["method"] == "ResNet"
    }
    for depth, n in tables["cifar_arch"]["n"].items():
        plan = _cifar_blueprint(tables["cifar_arch"]["summary_table"], n)
        recounts = Recounts(
            {"A": _mega(round(table["recount_mmacs_option_A"][depth] * 1e6))},
            {"A": table["recount_params_option_A"][depth]},
            _mega,
        )
        figure = (Printed("Table 6", "params", printed[depth], 10**6),)
        title = f"Table 6, {depth} layers"
        yield _claim(f"table6/{depth}", title, plan, ("A",), figure, recounts)
        title = f"section 4.2, plain, {depth} layers"
        yield _claim(f"plain/{depth}", title, plan, ("none",), (), recounts)


def _cifar_blueprint(summary: Mapping[str, Any], n: int) -> Blueprint:
    widths, sizes = summary["# filters"], summary["output map size"]
    side = int(sizes[0].split("x")[0])
    stages = tuple(
        Stage(f"stage {number}", ((3, width), (3, width)), n)
        for number, width in enumerate(widths, 1)
    )
    return Blueprint((3, side, side), (3, widths[0], 1), None, stages, 10, "A")


def _claim(
    name: str,
    title: str,
    plan: Blueprint,
    options: tuple[str, ...],
    printed: tuple[Printed, ...],
    recounts: Recounts,
) -> Claim:
    return Claim(name, title, replace(plan, option=options[0]), options, printed, recounts)


def _giga(macs: int) -> str:
    return f"{macs / 1e9:.4f} G"


def _mega(macs: int) -> str:
    return f"{macs / 1e6:.3f} M"
