"""The report of figure 7: layer responses at initialisation and after training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from resnetc.backends.torch import build_module
from resnetc.backends.weights import read_weights
from resnetc.reproduce.cells import Cell, Request
from resnetc.reproduce.context import Context, report
from resnetc.reproduce.figures import Curve, Panel, draw
from resnetc.reproduce.measured import Measured
from resnetc.reproduce.page import NOT_RUN, Figure, Report, Table
from resnetc.reproduce.responses import Response, responses
from resnetc.train.draws import Samples
from resnetc.train.feed import View, Workers, batches
from resnetc.train.judging import EvaluateOptions, open_sight

_IMAGES = 500


def fig7(context: Context) -> Report:
    """Of fresh networks always; of trained ones where their cells were run."""
    lines: dict[str, tuple[list[Response], list[Response] | None]] = {}
    for depth, option in context.networks:
        found = context.found(depth, option)
        cell = Cell(depth, option, context.request.seeds[0])
        fresh = _measure(context.request, cell, None)
        lines[cell.label] = fresh, _measure(context.request, cell, found[0]) if found else None
    furthest = max(abs(r.deviation - 1) for fresh, _ in lines.values() for r in fresh)
    trained = {name: after for name, (_, after) in lines.items() if after}
    rows = [
        (
            name,
            f"{_mean(fresh):.4f}",
            f"{_mean(after):.4f}" if after else NOT_RUN,
            f"{max(abs(r.deviation - r.closed_form) for r in after):.1e}" if after else NOT_RUN,
        )
        for name, (fresh, after) in lines.items()
    ]
    head = ("network", "mean at initialisation", "mean after training", "from the closed form")
    findings = [
        "Of the outputs of each 3x3 layer after batch norm, before ReLU and addition, over "
        f"{_IMAGES} test images at most, with batch statistics. At initialisation each is "
        f"1; the furthest is off by {furthest:.1e}.",
        "After training they are sqrt(mean(gamma^2) + var(beta)): the figure shows what batch "
        "norms have learned.",
    ]
    figures = [_response_figure(trained)] if trained else []
    numbers = {
        "responses": {
            name: {"initial": _listed(fresh), "trained": _listed(after) if after else None}
            for name, (fresh, after) in lines.items()
        }
    }
    table = Table("Standard deviations of responses", head, rows)
    return report(context, findings, [table], figures, numbers)


def _measure(request: Request, cell: Cell, found: Measured | None) -> list[Response]:
    """Of a cell's network, fresh or with the weights of its run, over test images."""
    options = EvaluateOptions(data=request.data)
    sight = open_sight(request.network(cell), found.run if found else None, options)
    module = build_module(sight.net.graph, seed=cell.seed)
    if found is not None:
        held = read_weights(found.run)
        module.load_state_dict({path: torch.from_numpy(a.copy()) for path, a in held.items()})
    test = sight.data.test
    seen = sight.view(test.part(torch.arange(min(_IMAGES, len(test)))))
    return responses(sight.net.graph, module, _all_images(seen))


def _all_images(seen: View) -> torch.Tensor:
    indices = torch.arange(len(seen.images))
    plan = [Samples(0, torch.zeros_like(indices), indices)]
    return torch.cat([images for images, _ in batches(seen, plan, torch.device("cpu"), Workers())])


def _mean(found: Sequence[Response]) -> float:
    return sum(each.deviation for each in found) / len(found)


def _listed(found: Sequence[Response]) -> list[dict[str, Any]]:
    return [vars(each) for each in found]


def _response_figure(trained: Mapping[str, Sequence[Response]]) -> Figure:
    drawn: list[list[Curve]] = [[], []]
    for colour, (name, found) in enumerate(trained.items()):
        layers = list(range(1, len(found) + 1))
        deviations = [each.deviation for each in found]
        for curves, values in zip(
            drawn, (deviations, sorted(deviations, reverse=True)), strict=True
        ):
            curves.append(Curve(name, (layers, values), colour))
    titles = ("layers in their order", "layers by deviation")
    axes = ("layer", "standard deviation")
    panels = [Panel(title, *axes, curves) for title, curves in zip(titles, drawn, strict=True)]
    return Figure(draw(panels, stacked=True), "As in the paper's figure 7, after training.")
