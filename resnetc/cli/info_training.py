"""`resnetc info --training`: the memory of a training step, and what recomputing saves of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, TypeVar

import click

from resnetc.analysis.footprint import Setting
from resnetc.backends.torch.memory import Choice, Copies, StepMemory, in_units
from resnetc.cli.sizes import size
from resnetc.diagnostics import UsageError
from resnetc.driver import Network

_F = TypeVar("_F", bound=Callable[..., Any])


def training_options(command: _F) -> _F:
    """The flags that `show_training` takes."""
    for option in (
        click.option("--memory-limit", type=size, help="Recompute until a step takes no more."),
        click.option("--precision", type=click.Choice(["fp32", "bf16"]), help="Of it.  [fp32]"),
        click.option("--batch", type=click.IntRange(min=1), help="Its images.  [the recipe's]"),
        click.option("--training", is_flag=True, help="The memory of a training step instead."),
    ):
        command = option(command)
    return command


def show_training(
    net: Network,
    *,
    training: bool,
    batch: int | None,
    precision: str | None,
    memory_limit: int | None,
    as_json: bool,
) -> bool:
    """Print the memory of a training step, where it is asked for; returns whether it was."""
    if not training:
        if batch or precision or memory_limit:
            raise UsageError("--batch, --precision and --memory-limit go with --training")
        return False
    images = batch or (net.recipe.batch if net.recipe else 256)
    found = training_memory(net, images, precision or "fp32", memory_limit)
    if as_json:
        click.echo(json.dumps({"network": net.name, **found}, indent=2))
    else:
        print_training(net, found)
    return True


def training_memory(net: Network, batch: int, precision: Any, limit: int | None) -> dict[str, Any]:
    """What a step of SGD with momentum takes, and with all or enough recomputed, for machines.

    Raises UsageError where nothing keeps below the limit.
    """
    memory = StepMemory(net.graph, Setting(batch, precision), Copies(kept=1))
    least = memory.schedule.least()
    choice = memory.choose(least if limit is None else limit)
    if choice is None:
        raise UsageError(
            f"a step of {batch:,} images takes at least {in_units(least)}; a batch of "
            f"{memory.largest_batch(limit or 0):,} would fit into {in_units(limit or 0)}"
        )
    return {
        "batch": batch,
        "precision": precision,
        "peak_bytes": memory.peak,
        "least_bytes": least,
        "limit_bytes": limit,
        "recomputing": {
            "peak_bytes": choice.peak,
            "share_of_forward": choice.share,
            "stretches": [list(paths) for paths in choice.stretches],
        },
        "stages": _stages(memory, choice),
    }


def _stages(memory: StepMemory, choice: Choice) -> list[dict[str, Any]]:
    """By the first label of their paths: bytes held after the forward pass, without and with
    recomputing, and the share of the stage's work that is done twice."""
    again = {place for s in choice.segments for place in range(s.first, s.stop)}
    ends = {s.stop - 1 for s in choice.segments}
    rows: dict[str, dict[str, Any]] = {}
    for place, piece in enumerate(memory.schedule.pieces):
        label = piece.place.nodes[0].name.partition(".")[0]
        row = rows.setdefault(label, {"label": label, "held": 0, "recomputing": 0, "_": [0, 0]})
        row["held"] += piece.kept
        row["recomputing"] += piece.edge if place in ends else 0 if place in again else piece.kept
        row["_"][0] += piece.work * (place in again)
        row["_"][1] += piece.work
    for row in rows.values():
        twice, whole = row.pop("_")
        row["share"] = twice / max(1, whole)
    return list(rows.values())


def print_training(net: Network, found: dict[str, Any]) -> None:
    """The same for a reader."""
    again = found["recomputing"]
    click.echo(
        f"{net.name}, a training step of {found['batch']:,} images in {found['precision']} with "
        f"SGD: {in_units(found['peak_bytes'])}"
    )
    goal = "the least" if found["limit_bytes"] is None else in_units(found["limit_bytes"])
    click.echo(
        f"recomputing for {goal}: {in_units(again['peak_bytes'])}, "
        f"{again['share_of_forward']:.0%} of the forward pass runs twice"
    )
    click.echo(f"\n{'stage':16}{'held':>12}{'recomputing':>14}{'twice':>8}")
    for row in found["stages"]:
        held, less = in_units(row["held"]), in_units(row["recomputing"])
        click.echo(f"{row['label']:16}{held:>12}{less:>14}{row['share']:>8.0%}")
