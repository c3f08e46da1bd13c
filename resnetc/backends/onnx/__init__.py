"""ONNX, written directly from the graph: nothing is traced, and no model object holds the weights.

write_onnx(net.graph, Path("resnet50.onnx"), weights)
model_bytes(net.graph, weights, OnnxOptions(precision="fp16"))
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from resnetc.backends.hashed import HashedArrays
from resnetc.backends.onnx.files import model_in_memory, write_external, write_inline
from resnetc.backends.onnx.model import PRODUCER, build_skeleton, lowered_skeleton
from resnetc.backends.onnx.options import OnnxOptions
from resnetc.backends.onnx.stream import MESSAGE_LIMIT, StreamedModel
from resnetc.backends.onnx.wire import metadata_bytes
from resnetc.backends.weights import fit_weights
from resnetc.diagnostics import UsageError
from resnetc.ir import Graph

if TYPE_CHECKING:
    import numpy as np

__all__ = ["OnnxOptions", "lowered_bytes", "model_bytes", "write_onnx"]


def write_onnx(
    graph: Graph,
    path: Path,
    weights: Mapping[str, np.ndarray],
    *,
    options: OnnxOptions | None = None,
    provenance: Mapping[str, str] | None = None,
) -> tuple[Path, ...]:
    """Write a graph (of stage SOURCE) as an ONNX file; returns the files written.

    `weights` are named by parameter path, as a torch state_dict is. `provenance` goes into the
    file's metadata beside the hashes of graph and weights, each key behind "resnetc.". What stood
    at `path` stays as it is until everything is written.

    Raises UsageError for weights that do not fit the network and for options that cannot be met,
    RunError when the disk refuses or a number does not fit the precision.
    """
    chosen = options or OnnxOptions()
    held = fit_weights(graph, weights)
    with HashedArrays(graph, held) as arrays:
        skeleton = build_skeleton(graph, chosen, provenance)
        model = StreamedModel(skeleton)
        external = model.size > MESSAGE_LIMIT if chosen.external is None else chosen.external
        if not external:
            _require_one_message(model)

        def late() -> dict[str, str]:
            return {
                f"{PRODUCER}.graph_hash": graph.hash,
                f"{PRODUCER}.weights_hash": arrays.digest(),
            }

        if external:
            return path, write_external(path, skeleton, arrays, late)
        write_inline(path, model, arrays, late)
    return (path,)


def model_bytes(
    graph: Graph,
    weights: Mapping[str, np.ndarray],
    options: OnnxOptions | None = None,
    provenance: Mapping[str, str] | None = None,
) -> bytes:
    """The same file, weights inside, as bytes. Raises as :func:`write_onnx` does."""
    chosen = options or OnnxOptions()
    model = StreamedModel(build_skeleton(graph, chosen, provenance))
    _require_one_message(model)
    content = model_in_memory(model, fit_weights(graph, weights))
    return content + metadata_bytes({f"{PRODUCER}.graph_hash": graph.hash})


def lowered_bytes(
    lowered: Graph, weights: Mapping[str, np.ndarray], options: OnnxOptions | None = None
) -> bytes:
    """A graph that passes have made (of a stage after SOURCE) as an ONNX file, as it is.

    `weights` are those of the network it was made from; of the options, the batch and the opset
    are taken.
    """
    model = StreamedModel(lowered_skeleton(lowered, options or OnnxOptions(), {}))
    _require_one_message(model)
    return model_in_memory(model, weights)


def _require_one_message(model: StreamedModel) -> None:
    if model.size > MESSAGE_LIMIT:
        raise UsageError(
            f"with its weights inside the model takes {model.size / 1e9:.1f} GB, and an ONNX file "
            "ends at 2 GB: write the weights to an external file"
        )
