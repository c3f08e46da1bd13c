"""`resnetc bench`: how fast a network infers, on every backend, in one interleaved run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

import click

from resnetc.atomic import write_text
from resnetc.cli.arguments import RANDOM, load_trained, running_options
from resnetc.cli.deployment import not_measured
from resnetc.diagnostics import UsageError
from resnetc.driver import Network

if TYPE_CHECKING:
    from rich.table import Table

    from resnetc.bench import Report, Request
    from resnetc.bench.report import Measurement


@click.command()
@running_options(
    "eager, compile, onnxruntime, openvino, tensorrt",
    "eager,compile,onnxruntime, and tensorrt where a GPU is",
)
@click.option("--batch", default="1,8", show_default=True, help="Batch sizes.")
@click.option(
    "--precision", default="fp32", show_default=True, help="fp32, fp16 or bf16; or several."
)
@click.option(
    "--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True
)
@click.option("--threads", type=int, help="CPU threads of each backend; all cores without it.")
@click.option(
    "--seconds", default=5.0, show_default=True, help="Measured time per backend and batch."
)
@click.option("--rounds", default=10, show_default=True, help="Parts the time is measured in.")
@click.option(
    "--layout",
    type=click.Choice(["channels_last", "contiguous"]),
    default="channels_last",
    show_default=True,
    help="Memory format for torch; other backends choose their own.",
)
@click.option("--tf32", is_flag=True, help="Let fp32 products round to TF32 on a GPU.")
@click.option("--out", metavar="FILE", help="Write the report as JSON, too.")
def bench(
    network: str,
    settings: tuple[str, ...],
    outputs: tuple[str, ...] | None,
    backends: tuple[str, ...] | None,
    batch: str,
    precision: str,
    device: str,
    threads: int | None,
    seconds: float,
    rounds: int,
    layout: str,
    tf32: bool,
    weights: str | None,
    seed: int,
    out: str | None,
    as_json: bool,
) -> None:
    """Measure inference on several backends.

    One process per backend, rounds interleaved, so that they never run at the same time. Every
    output is held against eager torch in fp32. Exit code 1 when a requested backend failed, 4
    when all that is wrong is that something is not installed or not here, 5 when an output
    differs.
    """
    from resnetc.bench import Request, run_bench
    from resnetc.bench.machine import cores

    net = load_trained(network, settings, weights, outputs)
    request = Request(
        network=network,
        settings=net.settings,
        outputs=net.outputs,
        weights=None if weights == RANDOM else weights,
        seed=seed,
        backends=backends or (),
        batches=_numbers(batch),
        precisions=_names(precision),
        device=cast('Literal["auto", "cpu", "cuda"]', device),
        threads=cores() if threads is None else threads,
        seconds=seconds,
        rounds=rounds,
        layout=layout,
        tf32=tf32,
    )
    _say_what_is_not_measured(net, request)
    report = run_bench(request, say=lambda line: click.echo(line, err=True))
    document = json.dumps(report.to_json(), indent=2)
    if out is not None:
        write_text(Path(out), document + "\n")
    if as_json:
        click.echo(document)
    else:
        _print(report)
    if (problem := report.problem()) is not None:
        raise problem


def _say_what_is_not_measured(net: Network, request: Request) -> None:
    """A deployment says how a network is exported; its network is measured as the flags say."""
    if net.deploy is None:
        return
    measured = {"precision": request.precisions, "batch": request.batches}
    if left := not_measured(net.deploy, measured):
        name = net.reference.rpartition(":")[2]
        said = f"{', '.join(request.precisions)} at batch {', '.join(map(str, request.batches))}"
        click.echo(
            f"not measured, though the deployment {name} says so: {', '.join(left)}; measured is "
            f"{said} (--precision, --batch)",
            err=True,
        )


def _names(text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    if not names:
        raise UsageError(f"`{text}` names nothing")
    return names


def _numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in _names(text))
    except ValueError:
        raise UsageError(f"--batch takes whole numbers, not `{text}`") from None


def _print(report: Report) -> None:
    from rich.console import Console

    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 100
    about = report.about
    console.print(
        f"[bold]{about['network']}[/]  {about['gmacs']} GMACs, weights {about['weights']}"
    )
    console.print(f"{about['machine']['cpu']}, {about['machine']['cores']} cores")
    for gpu in about["gpus"]:
        console.print(f"{gpu['name']}, driver {gpu['driver_version']}")
    for group in report.groups():
        console.print(_table(group))
    for line in _caption(report):
        console.print(line, style="dim")


def _table(group: list[Measurement]) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    from resnetc.bench.report import find, ranks

    facts = group[0].facts
    where = facts.get("device_name") or facts["device"]
    title = f"{group[0].scene} on {where}, {facts['threads']} threads"
    table = Table(
        title=title, box=SIMPLE_HEAD, title_justify="left", title_style="bold", pad_edge=False
    )
    table.add_column("")
    table.add_column("backend")
    confidence = f"{group[0].images_per_second.confidence:.0%}".replace("%", " %")
    for heading in ("images/s", confidence, "p50 ms", "p90", "p99", "x eager", "error", "ready s"):
        table.add_column(heading, justify="right", no_wrap=True)
    eager = find(group, "eager")
    for place, measured in zip(ranks(group), group, strict=True):
        rate = measured.images_per_second
        table.add_row(
            str(place),
            measured.backend,
            _short(rate.median),
            f"{_short(rate.low)}-{_short(rate.high)}",
            *(_short(measured.latency(percent) * 1e3) for percent in (50, 90, 99)),
            f"{measured.over(eager).median:.2f}" if eager else "",
            f"{measured.parity.error:.0e}" + ("" if measured.parity.holds else " !"),
            f"{measured.prepare_seconds:.1f}",
        )
    return table


def _caption(report: Report) -> list[str]:
    ran = {str(m.facts["runtime"]): None for m in report.measurements}
    layouts = {f"{m.backend} {m.facts['layout']}": None for m in report.measurements}
    load, cores = report.about["load_average_before"], report.about["machine"]["cores"]
    busy = f"Other work had a load of {load} on {cores} cores when this began: figures suffer."
    return [
        *([busy] if load is not None and load > cores / 2 else []),
        f"Ran {', '.join(ran)}. Layout: {', '.join(layouts)}." if ran else "Nothing ran.",
        f"Median over {report.request.rounds} rounds and its interval; overlapping intervals share "
        "a place. Error: largest difference from eager fp32, over its largest output.",
    ]


def _short(number: float) -> str:
    """Four significant digits."""
    digits = 0 if number >= 1000 else 1 if number >= 100 else 2 if number >= 10 else 3
    return f"{number:.{digits}f}"
