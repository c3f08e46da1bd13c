"""What the paper says of architectures, counted from the specs: nothing is trained."""

from __future__ import annotations

from resnetc.analysis.claims import find_claim, paper_tables
from resnetc.analysis.outline import Block, Outline
from resnetc.analysis.paper import Verdict, check_paper
from resnetc.analysis.reading import read
from resnetc.driver import Network, load
from resnetc.reproduce.page import Report, Table

IMAGENET = (18, 34, 50, 101, 152)
CIFAR = (20, 32, 44, 56, 110, 1202)
_OPTIONS = ("plain", "A", "B", "C")


def table1() -> Report:
    """Architectures, output sizes and FLOPs of Table 1 beside those of the shipped specs."""
    summary: list[tuple[str, ...]] = []
    tables, numbers = [], []
    for depth in IMAGENET:
        net = load(f"resnet{depth}_v1")
        found = check_paper(net.graph, f"table1/{depth}")
        printed = find_claim(f"table1/{depth}").printed[0]
        holds = printed.agrees(net.cost.macs)
        macs, params = f"{net.cost.macs:,}", f"{net.cost.params:,}"
        summary.append((net.name, f"{printed.number} x 10^9", macs, _yes(holds), params))
        rows = [(row.what, row.paper, row.here, row.verdict.value) for row in found.rows]
        columns = ("", "the paper", "here", "")
        tables.append(Table(f"{net.name}: {found.title}", columns, rows))
        numbers.append({**found.to_json(), "macs": net.cost.macs, "params": net.cost.params})
    agree = sum(row["holds"] for row in numbers)
    exact = sum(row[3] == Verdict.AGREES.value for table in tables for row in table.rows)
    of = sum(len(table.rows) for table in tables)
    head = ("network", "FLOPs in Table 1", "MACs counted", "prints alike", "parameters")
    return Report(
        "table1",
        "Table 1: architectures for ImageNet",
        [
            f"{agree} of {len(IMAGENET)} networks are the paper's, layer by layer; {exact} of {of} "
            "rows agree as they stand. FLOPs in the paper are multiply-adds of convolutions and "
            "the classifier; a figure prints alike when it rounds, or is cut off, to what stands "
            "in the table.",
            "Bottleneck networks have the stride of 2 on the first 1x1 convolution here; with it "
            "on the 3x3, where torchvision has it, ResNet-50 has "
            f"{_stride_cost() / 1e9:.2f} x 10^9 more, and prints otherwise.",
        ],
        [Table("FLOPs", head, summary), *tables],
        numbers={"networks": numbers},
    )


def claims() -> Report:
    """What shortcuts cost, and how many layers and shortcuts the CIFAR networks have."""
    parts = [_bottleneck(), _projected(), _options(), _six_n_plus_two()]
    block, ratio = _block_ratio()
    equal = sum(row[3] == row[4] for row in parts[-1].rows)
    return Report(
        "claims",
        "What the paper says of shortcuts and counts",
        [
            "Section 4.1: projections in the place of bottlenecks' identity shortcuts double time "
            f"and size. Of a block's convolutions that is a factor of {ratio:.2f} "
            f"({block[0]:,} to {block[1]:,} weights); of whole networks it is less, as the stem, "
            "the classifier and the four projections of option B stay.",
            f"Plain networks and option A have equally many parameters in {equal} of {len(CIFAR)} "
            "depths for CIFAR-10.",
        ],
        parts,
        numbers={"bottleneck": {"identity": block[0], "projection": block[1], "ratio": ratio}},
    )


def _stride_cost() -> int:
    """MACs that ResNet-50 has more with the stride on the 3x3."""
    return load("resnet50").cost.macs - load("resnet50_v1").cost.macs


def _yes(holds: bool) -> str:
    return "yes" if holds else "no"


def _v1(depth: int, shortcut: str) -> Network:
    return load(f"resnet{depth}_v1", {"shortcut": shortcut})


def _outline(net: Network, block_length: int) -> Outline:
    return read(net.graph, block_length)


def _sums(block: Block) -> tuple[int, int]:
    """Weights and MACs of a block's convolutions."""
    layers = [*block.layers, *([block.projection] if block.projection else [])]
    return sum(layer.weights for layer in layers), sum(layer.macs for layer in layers)


def _block_ratio() -> tuple[tuple[int, int], float]:
    """Weights of figure 5's bottleneck with an identity and with a projection; their ratio."""
    identity, _ = _sums(_outline(_v1(50, "B"), 3).blocks[1])
    projection, _ = _sums(_outline(_v1(50, "C"), 3).blocks[1])
    return (identity, projection), projection / identity


def _bottleneck() -> Table:
    rows = []
    said = paper_tables()["shortcuts"]["bottleneck_recount"]
    recounts = {
        "B": said["identity_weights_56x56_256d"],
        "C": said["identity_weights_56x56_256d"] + said["added_projection_weights"],
    }
    for option, what in (("B", "identity"), ("C", "projection")):
        weights, macs = _sums(_outline(_v1(50, option), 3).blocks[1])
        rows.append((what, f"{weights:,}", f"{recounts[option]:,}", f"{macs:,}"))
    head = ("shortcut", "weights of convolutions", "recount from the paper", "MACs")
    return Table("Figure 5, right: a bottleneck of 256 channels at 56x56", head, rows)


def _projected() -> Table:
    rows = []
    for depth in (50, 101, 152):
        b, c = (_v1(depth, option).cost for option in "BC")
        rows.append(
            (
                f"ResNet-{depth}",
                f"{b.macs / 1e9:.2f} to {c.macs / 1e9:.2f} x 10^9",
                f"x {c.macs / b.macs:.2f}",
                f"{b.params:,} to {c.params:,}",
                f"x {c.params / b.params:.2f}",
            )
        )
    head = ("network", "MACs, option B to C", "", "parameters, option B to C", "")
    return Table("All shortcuts projections: bottleneck networks", head, rows)


def _options() -> Table:
    recounts = paper_tables()["table1"]["recount_params"]
    rows = []
    for depth in (18, 34):
        for option in _OPTIONS:
            net = _v1(depth, option)
            blocks = _outline(net, 2).blocks
            projections = sum(block.projection is not None for block in blocks)
            recount = recounts[str(depth)]["A" if option == "plain" else option]
            name = f"plain-{depth}" if option == "plain" else f"ResNet-{depth} {option}"
            counted = f"{projections}", f"{net.cost.params:,}", f"{recount:,}"
            rows.append((name, *counted, f"{net.cost.macs:,}"))
    head = ("network", "projections", "parameters", "recount from the paper", "MACs")
    return Table("Options A, B and C", head, rows)


def _six_n_plus_two() -> Table:
    table = paper_tables()["table6"]
    printed = {r["layers"]: r["params_M"] for r in table["rows"] if r["method"] == "ResNet"}
    rows = []
    for depth in CIFAR:
        net, twin = (
            load("cifar_resnet", {"depth": str(depth), "shortcut": s}) for s in _OPTIONS[1::-1]
        )
        outline = _outline(net, 2)
        rows.append(
            (
                f"{(depth - 2) // 6}",
                f"{outline.weighted_layers}",
                f"{len(outline.blocks)}",
                f"{net.cost.params:,}",
                f"{twin.cost.params:,}",
                f"{printed[depth]} M",
                f"{table['recount_params_option_A'][str(depth)]:,}",
            )
        )
    head = ("n", "6n + 2 layers", "3n shortcuts", "parameters", "plain twin", "Table 6", "recount")
    return Table("The networks for CIFAR-10", head, rows)
