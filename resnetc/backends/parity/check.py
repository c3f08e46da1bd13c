"""Runs a network in several runtimes and holds each against float64."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resnetc.backends.onnx import model_bytes
from resnetc.backends.parity.agreement import TOLERANCES, Agreement, compare, narrowest
from resnetc.backends.parity.parting import Parting, find_parting
from resnetc.backends.parity.runtimes import (
    DEFAULT,
    OnnxModel,
    Runtime,
    Subject,
    fixed_batch,
    load_runtime,
    require_known,
)
from resnetc.backends.provenance import onnx_facts, require_same_network
from resnetc.backends.weights import fit_weights
from resnetc.diagnostics import CheckError, ResnetcError, RunError, UsageError
from resnetc.ir import Graph

if TYPE_CHECKING:
    import numpy as np

    Tensors = Mapping[str, np.ndarray]


def check_parity(
    graph: Graph,
    weights: Mapping[str, Any],
    *,
    onnx_file: Path | None = None,
    backends: Sequence[str] = DEFAULT,
    images: np.ndarray | None = None,
    batch: int = 4,
    seed: int = 0,
    tolerance: float | None = None,
) -> list[Agreement]:
    """Compare runtimes with torch in float64, and find the first block where they part.

    `backends` are names of `RUNTIMES`. Without `onnx_file`, the ONNX model is the one
    :func:`resnetc.backends.onnx.model_bytes` makes. Inputs are `images`, float32 [N, C, H, W] as
    the network takes them, or else seeded normal numbers. A file of a fixed batch sets the batch.

    Raises MissingError for a runtime that is not installed, RunError for a file it cannot run,
    UsageError for one that was written from another network, CheckError for one that was written
    from another state of this one, and for a reference that is not finite.
    """
    found, refusals = compare_runtimes(
        graph,
        weights,
        onnx_file=onnx_file,
        backends=backends,
        images=images,
        batch=batch,
        seed=seed,
        tolerance=tolerance,
    )
    if refusals:
        raise refusals[0]
    return found


def compare_runtimes(
    graph: Graph,
    weights: Mapping[str, Any],
    *,
    onnx_file: Path | None = None,
    backends: Sequence[str] = DEFAULT,
    images: np.ndarray | None = None,
    batch: int = 4,
    seed: int = 0,
    tolerance: float | None = None,
    engines: Sequence[Path] = (),
) -> tuple[list[Agreement], list[ResnetcError]]:
    """As :func:`check_parity`, but a runtime that cannot run the file keeps no other from being
    compared: the second list says why it was not. What is wrong with the file is raised.

    `engines` are run too, which needs the GPU that they are for."""
    from resnetc.backends.parity.torch_runtime import reference

    require_known(backends)
    held = fit_weights(graph, weights)
    if onnx_file is None:
        model = OnnxModel(model_bytes(graph, held), "the model")
        fixed = None
    else:
        facts = onnx_facts(onnx_file)
        _require_known_precision(onnx_file, facts.said)
        require_same_network(graph, facts.said, onnx_file)
        model = OnnxModel(onnx_file, str(onnx_file), facts.said)
        fixed = fixed_batch(facts.input_shape)
    subject = Subject(graph, held, model)
    inputs = _inputs(graph, fixed or batch, seed) if images is None else _given(graph, images)
    exact = reference(graph, held)
    outputs = _in_batches(exact.run, inputs, fixed)
    for name, array in outputs.items():
        _require_finite(name, array)
    found: list[Agreement] = []
    refusals: list[ResnetcError] = []
    for make in (
        *(partial(_made, name, subject) for name in backends),
        *(partial(_opened, path, graph) for path in engines),
    ):
        try:
            runtime = make()
            usual = TOLERANCES[narrowest(runtime.precisions)]
            allowed = usual if tolerance is None else tolerance
            found += _agreements(graph, runtime, exact, inputs, outputs, allowed, fixed)
        except ResnetcError as error:
            refusals.append(error)
    return found, refusals


def _made(name: str, subject: Subject) -> Runtime:
    return load_runtime(name)(subject)


def _opened(engine: Path, graph: Graph) -> Runtime:
    from resnetc.backends.parity.engine_runtime import Engine

    return Engine(engine, graph)


def _agreements(
    graph: Graph,
    runtime: Runtime,
    exact: Any,
    inputs: Tensors,
    outputs: Tensors,
    allowed: float,
    fixed: int | None,
) -> list[Agreement]:
    found = _in_batches(runtime.run, inputs, fixed)
    for name, reference in outputs.items():
        _require_shape(runtime.name, name, found[name], reference)
    told = [
        compare(runtime.name, name, found[name], reference, allowed, note=runtime.note)
        for name, reference in outputs.items()
    ]
    if all(each.passed for each in told):
        return told
    parting = _parting(graph, runtime, exact, _worst(inputs, found, outputs, fixed), allowed)
    return [
        compare(
            each.backend,
            each.output,
            found[each.output],
            outputs[each.output],
            allowed,
            None if each.passed else parting,
            runtime.note,
        )
        for each in told
    ]


def _parting(
    graph: Graph, runtime: Runtime, exact: Any, inputs: Tensors, allowed: float
) -> Parting | None:
    look = partial(runtime.probe, inputs)
    precision = narrowest(runtime.precisions)
    return find_parting(graph, partial(exact.probe, inputs), look, precision, allowed)


def _worst(
    inputs: Tensors, found: Tensors, outputs: Tensors, fixed: int | None
) -> dict[str, np.ndarray]:
    """The sample that is furthest off, as often as a fixed batch wants it."""
    import numpy as np

    off = np.zeros(len(next(iter(inputs.values()))))
    for name, reference in outputs.items():
        error = np.abs(found[name].astype(np.float64) - reference)
        off += np.nan_to_num(error, nan=np.inf).reshape(len(off), -1).max(1)
    worst = int(off.argmax())
    return {
        name: np.repeat(array[worst : worst + 1], fixed or 1, axis=0)
        for name, array in inputs.items()
    }


def _in_batches(run: Any, inputs: Tensors, fixed: int | None) -> dict[str, np.ndarray]:
    """Outputs for all samples, at most 32 at a time, or as many as a file is fixed to."""
    import numpy as np

    size = fixed or _AT_A_TIME
    count = len(next(iter(inputs.values())))
    parts = [
        run({name: array[start : start + size] for name, array in inputs.items()})
        for start in range(0, count, size)
    ]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


_AT_A_TIME = 32


def _inputs(graph: Graph, batch: int, seed: int) -> dict[str, np.ndarray]:
    import numpy as np

    rng = np.random.default_rng(seed)
    return {
        node.name: rng.standard_normal((batch, *node.type.shape), np.float32)
        for node in graph.inputs
    }


def _given(graph: Graph, images: np.ndarray) -> dict[str, np.ndarray]:
    if len(graph.inputs) != 1:
        raise UsageError(f"{graph.name} has {len(graph.inputs)} inputs: images feed one")
    return {graph.inputs[0].name: images}


def _require_known_precision(file: Path, said: Mapping[str, str]) -> None:
    """A file that does not say its precision is held to fp32's tolerance."""
    precision = said.get("precision", "fp32")
    if precision not in TOLERANCES:
        known = ", ".join(TOLERANCES)
        raise RunError(f"{file}: it says that its precision is {precision!r}, none of {known}")


def _require_shape(runtime: str, output: str, found: np.ndarray, reference: np.ndarray) -> None:
    if found.shape != reference.shape:
        shapes = ("x".join(map(str, array.shape)) for array in (found, reference))
        raise CheckError("{} gives {} as {}, and it is {}".format(runtime, output, *shapes))


def _require_finite(name: str, reference: np.ndarray) -> None:
    import numpy as np

    if not np.isfinite(reference).all():
        raise CheckError(
            f"the reference's output {name} is not finite: with these weights there is nothing "
            "to compare"
        )
