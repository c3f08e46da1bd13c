"""The ranges of a network's tensors, from real images; found once, and kept for later."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from resnetc.atomic import write_text
from resnetc.backends.weights import weights_hash
from resnetc.diagnostics import RunError, UsageError
from resnetc.ir import Graph
from resnetc.passes import Encoding, Range, lower_for_inference, place, under
from resnetc.quantization.histogram import Histogram
from resnetc.quantization.ranges import Calibration, find_range
from resnetc.quantization.running import Runner

if TYPE_CHECKING:
    import numpy as np

    Batches = Iterable[np.ndarray]

_OBSERVED_BYTES = 256 << 20
"""Results that are held at a time: batches are as small as this wants."""

Progress = Callable[[int, int], object]
"""Told how many images of how many are through."""


@dataclass(frozen=True)
class Images:
    """What a network is calibrated on: `batches` of float32 [N, C, H, W] as the network takes them,
    `count` images in all; `identity` tells sets apart."""

    batches: Callable[[int], Iterator[np.ndarray]]
    count: int
    identity: str


@dataclass(frozen=True)
class Calibrated:
    """Ranges by the name of the tensor, and how they were found."""

    ranges: Mapping[str, Range]
    method: str
    images: int
    cached: bool = False

    def __str__(self) -> str:
        return f"{self.method} over {self.images} images"


def calibrate(
    graph: Graph,
    weights: Mapping[str, np.ndarray],
    encoding: Encoding,
    images: Images,
    method: Calibration,
    *,
    keep: tuple[str, ...] = (),
    cache: Path | None = None,
    progress: Progress | None = None,
) -> Calibrated:
    """Run a graph (of stage SOURCE) on images in float32 and find the ranges that eight bits need.

    With a `cache` (a folder), ranges are found once for a graph, its weights, the images and the
    method. Raises MissingError without onnxruntime, UsageError for a network of several inputs,
    RunError where a result is not finite.
    """
    lowered = lower_for_inference(graph).graph
    # What is kept must not tell caches apart, nor what a target reads: all tensors are observed.
    names = observed_names(lowered, encoding)
    wanted = place(lowered, encoding, under(lowered, keep)).observed
    file = None
    if cache is not None:
        file = cache / f"{_key(graph, weights, encoding, images, method)}.json"
        if (ranges := _read(file, names)) is not None:
            kept = {name: ranges[name] for name in wanted}
            return Calibrated(kept, type(method).word, images.count, cached=True)
    seen = observe(lowered, weights, names, images, progress)
    ranges = {name: find_range(histogram, method) for name, histogram in seen.items()}
    if file is not None:
        written = {name: range_.to_json() for name, range_ in ranges.items()}
        write_text(file, json.dumps(written, indent=0) + "\n")
    return Calibrated({n: ranges[n] for n in wanted}, type(method).word, images.count)


def observed_names(lowered: Graph, encoding: Encoding) -> list[str]:
    """The tensors whose ranges a graph needs where nothing is kept wide."""
    return place(lowered, encoding).observed


# ------------------------------------------------------------------------------------- observing


def observe(
    lowered: Graph,
    weights: Mapping[str, np.ndarray],
    names: list[str],
    images: Images,
    progress: Progress | None = None,
) -> dict[str, Histogram]:
    """What the tensors of these names hold over all images, in float32."""
    if len(lowered.inputs) != 1:
        raise UsageError(f"{lowered.name} has {len(lowered.inputs)} inputs: calibration feeds one")
    (entry,) = lowered.inputs
    by_name = {node.name: node for node in lowered}
    seen = {name: Histogram() for name in names}
    inside = [name for name in names if name != entry.name]
    ids = {name: by_name[name].id for name in inside}
    run = Runner(Graph(lowered.name, lowered, ids, lowered.scopes), weights) if ids else None
    held = sum(by_name[name].type.bytes for name in names) or 1
    done = 0
    for batch in images.batches(max(1, min(32, _OBSERVED_BYTES // held))):
        if entry.name in seen:
            _count(seen[entry.name], batch, entry.name)
        for name, array in run(batch).items() if run else ():
            _count(seen[name], array, name)
        done += len(batch)
        if progress is not None:
            progress(done, images.count)
    if not done:
        raise UsageError("there are no images to calibrate on")
    return seen


def _count(histogram: Histogram, array: np.ndarray, name: str) -> None:
    import numpy as np

    if not np.isfinite(array.sum(dtype=np.float64)):
        raise RunError(f"on the calibration images {name} holds what is not a finite number")
    histogram.add(array)


# ----------------------------------------------------------------------------------------- cache


def _key(
    graph: Graph,
    weights: Mapping[str, np.ndarray],
    encoding: Encoding,
    images: Images,
    method: Calibration,
) -> str:
    """What ranges depend on: the graph, its weights, the images, the method and what is read."""
    held = (graph.hash, weights_hash(graph, weights), images.identity, images.count)
    told = repr((*held, method, encoding.closed))
    return hashlib.sha256(told.encode()).hexdigest()[:32]


def _read(file: Path, names: list[str]) -> dict[str, Range] | None:
    """Ranges that were found before. Raises RunError for a file that is no such thing."""
    if not file.is_file():
        return None
    try:
        written = json.loads(file.read_text(encoding="utf-8"))
        return {name: Range(*map(float, written[name])) for name in names}
    except (ValueError, TypeError, KeyError) as error:
        raise RunError(f"{file}: not the ranges of this network; remove it") from error
