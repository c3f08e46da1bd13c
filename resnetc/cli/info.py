"""`resnetc info`: what a network costs and sees, stage by stage."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import click

from resnetc.analysis import Communication, Cost, StageReport, communication, stages
from resnetc.analysis.cost import CONVENTIONS
from resnetc.backends.capacity import in_words
from resnetc.cli.arguments import json_option, load_network, network_argument, set_option
from resnetc.cli.info_training import show_training, training_options
from resnetc.driver import Network

_HUGE = 10**15
_PREFIXES = "PEZYRQ"
"""Of 1000**5 and on."""


@click.command()
@network_argument
@set_option
@click.option(
    "--processes",
    type=click.IntRange(min=1),
    metavar="N",
    help="Also what N processes that train the network send each other in a step.",
)
@click.option(
    "--link",
    type=click.FloatRange(min=0, min_open=True),
    default=400.0,
    show_default=True,
    metavar="GBIT/S",
    help="Speed of the link between them, in each direction.",
)
@training_options
@json_option
def info(
    network: str,
    settings: tuple[str, ...],
    processes: int | None,
    link: float,
    as_json: bool,
    **step: Any,
) -> None:
    """Print per stage: output, parameters, MACs, FLOPs, receptive field, memory.

    All figures are of one sample; those of --processes and --training are of a step.
    """
    net = load_network(network, settings)
    if show_training(net, as_json=as_json, **step):
        return
    rows = stages(net.graph)
    sent = communication(net.graph, processes, link * 1e9) if processes else None
    if as_json:
        document = _document(net, rows)
        if sent:
            document["communication"] = sent.to_json()
        click.echo(json.dumps(document, indent=2))
        return
    _print_table(net, rows)
    if sent:
        click.echo(_sent(sent))


def _sent(sent: Communication) -> str:
    """What processes send each other, for a reader; a MB is a million bytes."""
    n = sent.processes
    return "\n".join(
        [
            f"{n} processes, each step",
            f"  gradients  {sent.gradients:,} in fp32, {sent.gradient_bytes / 1e6:,.1f} MB",
            f"  sent       {sent.sent_bytes / 1e6:,.1f} MB by each process, 2 ({n} - 1) / {n} of "
            "the gradients in a ring, and as much received",
            f"  time       {sent.seconds * 1e3:.2f} ms at {sent.link / 1e9:g} Gbit/s, without "
            "latencies; backward can hide most of it",
            f"  norm_sync  {2 * sent.norms} messages and {sent.norm_bytes / 1e6:.2f} MB more, for "
            f"{sent.norms} batch norms",
        ]
    )


def _document(net: Network, rows: Sequence[StageReport]) -> dict[str, Any]:
    graph = net.graph
    return {
        "network": net.name,
        "reference": net.reference,
        "settings": net.settings,
        "meta": net.meta,
        "hash": graph.hash,
        "nodes": len(graph),
        "inputs": {node.name: list(node.type.shape) for node in graph.inputs},
        "outputs": {
            name: list(graph[node_id].type.shape) for name, node_id in graph.outputs.items()
        },
        "aux": {name: list(graph[i].type.shape) for name, i in graph.aux.items()},
        "stages": [row.to_json() for row in rows],
        "total": {"layers": sum(row.layers for row in rows), **net.cost.to_json()},
        "conventions": CONVENTIONS,
    }


def _print_table(net: Network, rows: Sequence[StageReport]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    inputs = ", ".join(f"{node.name} {node.type}" for node in net.graph.inputs)
    unit, letter = (1e9, "G") if net.cost.macs >= 1e9 else (1e6, "M")
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_footer=True)
    headings = ["params", f"{letter}MACs", f"{letter}FLOPs", "field", "act.", "run", "train"]
    table.add_column("stage", "total")
    table.add_column("output")
    for heading, total in zip(headings, _cells(net.cost, "", unit), strict=True):
        table.add_column(heading, total, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(_label(row), str(row.output), *_cells(row.cost, _field(row), unit))

    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 100
    legend = Table.grid(padding=(0, 2), pad_edge=True)
    for name, meaning in _legend(net, letter).items():
        legend.add_row(name, meaning, style="dim")
    console.print(Text(f"{net.name}, of one {inputs}", style="bold"))
    console.print(table, legend)


def _cells(cost: Cost, field: str, unit: float) -> list[str]:
    digits = 4 if unit == 1e9 else 3
    return [
        _figure(cost.params, f"{cost.params:,}"),
        _figure(cost.macs, f"{cost.macs / unit:.{digits}f}"),
        _figure(cost.flops, f"{cost.flops / unit:.{digits}f}"),
        field,
        _figure(cost.activations, f"{cost.activations / 1e6:.3f}"),
        _mebibytes(cost.peak_inference_bytes),
        _mebibytes(cost.peak_training_bytes),
    ]


def _figure(count: int, shown: str) -> str:
    """A figure in the unit of its column; one too long for it in one that is said: `9.01 P`."""
    if count < _HUGE:
        return shown
    power = min((len(str(count)) - 1) // 3, 4 + len(_PREFIXES))
    return f"{count / 1000**power:,.2f} {_PREFIXES[power - 5]}"


def _mebibytes(count: int) -> str:
    return f"{count / 2**20:.2f}" if count < _HUGE else in_words(count)


def _label(row: StageReport) -> str:
    return f"{row.label} (training)" if row.training else row.label


def _field(row: StageReport) -> str:
    height, width = row.field.size
    return str(height) if height == width else f"{height}x{width}"


def _legend(net: Network, letter: str) -> dict[str, str]:
    """What the columns count; exact totals where a column rounds."""
    total = net.cost
    heads = {"(training)": "an auxiliary head: inference does not run it"} if net.graph.aux else {}
    return heads | {
        "params": f"{CONVENTIONS['params']}; besides {total.buffers:,} {CONVENTIONS['buffers']}",
        f"{letter}MACs": f"{CONVENTIONS['macs']}; {total.macs:,} in all",
        f"{letter}FLOPs": f"{CONVENTIONS['flops']}; {total.flops:,} in all",
        "field": CONVENTIONS["receptive_field"],
        "act.": f"millions of {CONVENTIONS['activations']}",
        "run": f"MiB: {CONVENTIONS['peak_inference_bytes']}",
        "train": f"MiB: {CONVENTIONS['peak_training_bytes']}",
    }
